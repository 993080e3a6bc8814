package storm

import (
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/converter"
)

// codec is a codec server that leaves payloads as they are, and fails as often as it is told to.
type codec struct {
	url string
	// Of 1,000 requests so many fail.
	errors atomic.Int64

	handler http.Handler
	mu      sync.Mutex
	counts  map[string]int64
}

func newCodec() (*codec, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &codec{url: "http://" + l.Addr().String(), handler: converter.NewPayloadCodecHTTPHandler(), counts: map[string]int64{}}
	go http.Serve(l, c) //nolint:errcheck // until the program ends
	return c, nil
}

func (c *codec) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rand.Int64N(1000) >= c.errors.Load() {
		c.count("answers")
		c.handler.ServeHTTP(w, r)
		return
	}
	switch rand.IntN(5) {
	case 0:
		c.count("connection lost")
		panic(http.ErrAbortHandler)
	case 1:
		c.count("delayed")
		time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Second))))
		c.handler.ServeHTTP(w, r)
	case 2:
		c.count("500")
		w.WriteHeader(http.StatusInternalServerError)
	case 3:
		c.count("503")
		w.WriteHeader(http.StatusServiceUnavailable)
	case 4:
		c.count("nonsense")
		w.Write([]byte("<html>")) //nolint:errcheck // whether it is read does not matter
	}
}

func (c *codec) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}
