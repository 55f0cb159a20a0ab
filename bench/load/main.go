// A closed-loop HTTP/1.1 load generator over raw keep-alive sockets: each connection sends a request, waits for the
// whole answer, and sends the next. It runs on one thread, so that it takes little from the service beside it, and says
// what it saw as one line of JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type headers []string

func (h *headers) String() string     { return strings.Join(*h, ", ") }
func (h *headers) Set(v string) error { *h = append(*h, v); return nil }

func main() {
	var given headers
	target := flag.String("url", "", "http://host:port/path, with {unique} or {id} (the next of -ids) where one belongs")
	method := flag.String("method", "GET", "method")
	connections := flag.Int("connections", 16, "connections")
	duration := flag.Duration("duration", 8*time.Second, "no request begins later")
	most := flag.Int64("requests", 0, "no more requests than these (0: any number)")
	bodyFile := flag.String("body", "", "file with the request's body")
	idsFile := flag.String("ids", "", "file with ids, a line each")
	once := flag.Bool("once", false, "use each id once, then stop")
	idsOut := flag.String("ids-out", "", "file to which the `id` of each 2xx answer is added")
	account := flag.String("sigv4", "", "accessKeyId:secretAccessKey:region, to sign requests for S3")
	flag.Var(&given, "header", "header (may be repeated)")
	flag.Parse()
	runtime.GOMAXPROCS(1)

	maker, err := newMaker(*method, *target, given, *bodyFile, *idsFile, *account)
	exitOn(err)
	if n := int64(len(maker.ids)); *once && (*most == 0 || *most > n) {
		*most = n
	}
	start := time.Now()
	deadline := start.Add(*duration)
	var issued int64
	next := func() (int64, bool) {
		n := atomic.AddInt64(&issued, 1)
		return n - 1, !time.Now().After(deadline) && (*most == 0 || n <= *most)
	}
	seen := make([]tally, *connections)
	var all sync.WaitGroup
	for i := range seen {
		all.Add(1)
		go func(t *tally) {
			defer all.Done()
			sendAll(maker, next, *idsOut != "", t)
		}(&seen[i])
	}
	all.Wait()
	total := sum(seen)
	if *idsOut != "" && len(total.ids) > 0 {
		exitOn(appendLines(*idsOut, total.ids))
	}
	exitOn(json.NewEncoder(os.Stdout).Encode(total.report(start)))
}

func (t *tally) report(start time.Time) map[string]any {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return map[string]any{
		"ok":      len(t.milliseconds) - t.refused,
		"bad":     t.refused + t.broken,
		"sample":  t.sample,
		"seconds": t.last.Sub(start).Seconds(),
		"p50":     t.percentile(0.5),
		"p99":     t.percentile(0.99),
		"ownCpu":  cpuSeconds(used.Utime) + cpuSeconds(used.Stime),
	}
}

func cpuSeconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

func appendLines(path string, lines []string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return err
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
