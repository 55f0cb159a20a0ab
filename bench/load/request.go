package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// What all requests have in common; only the path, and perhaps a signature, differs.
type maker struct {
	method, host, path, query string
	fixed                     string
	body                      []byte
	ids                       []string
	unique                    string
	signer                    *signer
}

func newMaker(method, target string, given []string, bodyFile, idsFile, account string) (*maker, error) {
	// Braces would come back escaped.
	parsed, err := url.Parse(strings.NewReplacer("{unique}", "UNIQUE", "{id}", "THE-ID").Replace(target))
	if err != nil || parsed.Host == "" {
		return nil, errors.New("-url is not valid")
	}
	m := &maker{method: method, host: parsed.Host, path: parsed.EscapedPath(), query: parsed.RawQuery}
	m.unique = fmt.Sprintf("%x-%x-", time.Now().UnixMicro(), os.Getpid())
	if bodyFile != "" {
		if m.body, err = os.ReadFile(bodyFile); err != nil {
			return nil, err
		}
	}
	if idsFile != "" {
		text, err := os.ReadFile(idsFile)
		if err != nil {
			return nil, err
		}
		if m.ids = strings.Fields(string(text)); len(m.ids) == 0 {
			return nil, errors.New("no ids")
		}
	}
	if account != "" {
		parts := strings.SplitN(account, ":", 3)
		if len(parts) != 3 {
			return nil, errors.New("-sigv4 is not valid")
		}
		m.signer = newSigner(parts[0], parts[1], parts[2], time.Now())
	}
	m.fixed = " HTTP/1.1\r\nHost: " + m.host + "\r\n"
	for _, header := range given {
		m.fixed += header + "\r\n"
	}
	if m.body != nil || method == "POST" || method == "PUT" {
		m.fixed += "Content-Length: " + strconv.Itoa(len(m.body)) + "\r\n"
	}
	return m, nil
}

// head adds everything before the body of the nth request to `to`.
func (m *maker) head(to []byte, n int64) []byte {
	path := strings.Replace(m.path, "UNIQUE", m.unique+strconv.FormatInt(n, 36), 1)
	if m.ids != nil {
		path = strings.Replace(path, "THE-ID", m.ids[n%int64(len(m.ids))], 1)
	}
	to = append(append(append(to, m.method...), ' '), path...)
	if m.query != "" {
		to = append(append(to, '?'), m.query...)
	}
	to = append(to, m.fixed...)
	if m.signer != nil {
		to = append(to, m.signer.headers(m.method, m.host, path, m.query, time.Now())...)
	}
	return append(to, "\r\n"...)
}

// AWS Signature Version 4 in headers, with the body left unsigned. The key is good for the day of the start.
type signer struct {
	accessKeyId, scope string
	key                []byte
}

func newSigner(accessKeyId, secretAccessKey, region string, now time.Time) *signer {
	day := now.UTC().Format("20060102")
	key := []byte("AWS4" + secretAccessKey)
	for _, part := range []string{day, region, "s3", "aws4_request"} {
		key = mac(key, part)
	}
	return &signer{accessKeyId, day + "/" + region + "/s3/aws4_request", key}
}

func (s *signer) headers(method, host, path, query string, now time.Time) string {
	const names = "host;x-amz-content-sha256;x-amz-date"
	at := now.UTC().Format("20060102T150405Z")
	canonical := method + "\n" + path + "\n" + query + "\nhost:" + host + "\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:" +
		at + "\n\n" + names + "\nUNSIGNED-PAYLOAD"
	hash := sha256.Sum256([]byte(canonical))
	toSign := "AWS4-HMAC-SHA256\n" + at + "\n" + s.scope + "\n" + hex.EncodeToString(hash[:])
	return "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: " + at + "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" +
		s.accessKeyId + "/" + s.scope + ", SignedHeaders=" + names + ", Signature=" + hex.EncodeToString(mac(s.key, toSign)) + "\r\n"
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
