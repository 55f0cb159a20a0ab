package main

import (
	"bufio"
	"bytes"
	"net"
	"sort"
	"time"
)

// What one connection saw, or all of them together.
type tally struct {
	milliseconds []float64
	refused      int // answers that are not 2xx
	broken       int // requests without an answer
	sample       string
	ids          []string
	last         time.Time
}

const patience = 120 * time.Second

// sendAll keeps one connection busy until `next` says that it is enough.
func sendAll(maker *maker, next func() (int64, bool), wantIds bool, t *tally) {
	var connection net.Conn
	var reader *bufio.Reader
	var head []byte
	var answer bytes.Buffer
	hangUp := func() {
		if connection != nil {
			connection.Close()
			connection = nil
		}
	}
	defer hangUp()
	for {
		n, more := next()
		if !more {
			return
		}
		head = maker.head(head[:0], n)
		begun := time.Now()
		if connection == nil {
			c, err := net.Dial("tcp", maker.host)
			if err != nil {
				t.broken++
				t.sample = err.Error()
				time.Sleep(20 * time.Millisecond)
				continue
			}
			connection, reader = c, bufio.NewReaderSize(c, 16<<10)
		}
		connection.SetDeadline(begun.Add(patience))
		status, keep, err := exchange(connection, reader, head, maker.body, &answer)
		if err != nil {
			t.broken++
			t.sample = err.Error()
			hangUp()
			continue
		}
		t.last = time.Now()
		t.milliseconds = append(t.milliseconds, float64(t.last.Sub(begun).Microseconds())/1000)
		if status < 200 || status > 399 {
			t.refused++
			t.sample = string(answer.Bytes()[:min(answer.Len(), 300)])
		} else if wantIds {
			t.ids = append(t.ids, idIn(answer.Bytes()))
		}
		if !keep {
			hangUp()
		}
	}
}

// exchange sends one request and reads the answer; also one that comes while the body is still being sent.
func exchange(c net.Conn, r *bufio.Reader, head, body []byte, answer *bytes.Buffer) (status int, keep bool, err error) {
	request := net.Buffers{head, body}
	_, err = request.WriteTo(c)
	status, keep, readErr := readAnswer(r, answer)
	if readErr != nil && err == nil {
		err = readErr
	} else if readErr == nil && err != nil {
		return status, false, nil
	}
	return status, keep, err
}

// idIn finds the value of "id" in an answer's JSON.
func idIn(json []byte) string {
	_, rest, _ := bytes.Cut(json, []byte(`"id":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(id)
}

func sum(seen []tally) tally {
	var total tally
	for _, t := range seen {
		total.milliseconds = append(total.milliseconds, t.milliseconds...)
		total.refused += t.refused
		total.broken += t.broken
		total.ids = append(total.ids, t.ids...)
		if t.sample != "" {
			total.sample = t.sample
		}
		if t.last.After(total.last) {
			total.last = t.last
		}
	}
	sort.Float64s(total.milliseconds)
	return total
}

func (t *tally) percentile(p float64) float64 {
	if len(t.milliseconds) == 0 {
		return 0
	}
	return t.milliseconds[min(int(p*float64(len(t.milliseconds))), len(t.milliseconds)-1)]
}
