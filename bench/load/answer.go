package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// readAnswer reads one answer into `body`. `keep` is false when the server is going to close the connection.
func readAnswer(r *bufio.Reader, body *bytes.Buffer) (status int, keep bool, err error) {
	body.Reset()
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 {
		return 0, false, errors.New("no status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, err
	}
	length, chunked := int64(-1), false
	keep = true
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, false, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			length, _ = strconv.ParseInt(string(value), 10, 64)
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	switch {
	case status == 100:
		return readAnswer(r, body)
	case status == 204 || status == 304:
		return status, keep, nil
	case chunked:
		return status, keep, readChunks(r, body)
	case length < 0:
		_, err = io.Copy(body, r)
		return status, false, err
	}
	_, err = io.CopyN(body, r, length)
	return status, keep, err
}

func readChunks(r *bufio.Reader, body *bytes.Buffer) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
		length, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return err
		}
		if _, err = io.CopyN(body, r, length); err != nil {
			return err
		}
		if _, err = r.ReadSlice('\n'); err != nil || length == 0 {
			return err
		}
	}
}
