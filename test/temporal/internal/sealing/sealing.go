// Package sealing encrypts payloads, as a codec of the Go SDK and as a codec server, and has a connection that
// notes what passes.
package sealing

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

const encoding = "binary/encrypted"

// Codec encrypts payloads by AES-GCM: no two times to the same.
type Codec struct{ gcm cipher.AEAD }

// New makes a codec with a key of its own.
func New() *Codec {
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // it never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &Codec{gcm}
}

// Encode implements converter.PayloadCodec.
func (c *Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	sealed := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		plain, err := proto.Marshal(p)
		if err != nil {
			return nil, err
		}
		nonce := make([]byte, c.gcm.NonceSize())
		rand.Read(nonce) //nolint:errcheck // it never fails
		sealed[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding), "encryption-key-id": []byte("test")},
			Data:     c.gcm.Seal(nonce, nonce, plain, nil),
		}
	}
	return sealed, nil
}

// Decode implements converter.PayloadCodec. A payload that is not encrypted is an error: there is to be none.
func (c *Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	plain := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encoding {
			return nil, fmt.Errorf("payload is not encrypted, but %s", p.GetMetadata()[converter.MetadataEncoding])
		}
		n := c.gcm.NonceSize()
		if len(p.GetData()) < n {
			return nil, errors.New("payload is too short")
		}
		text, err := c.gcm.Open(nil, p.GetData()[:n], p.GetData()[n:], nil)
		if err != nil {
			return nil, err
		}
		plain[i] = &commonpb.Payload{}
		if err := proto.Unmarshal(text, plain[i]); err != nil {
			return nil, err
		}
	}
	return plain, nil
}

// Server is a codec server of the SDK, which may be told to fail.
type Server struct {
	// Authorization that it asks for, and Namespace.
	Authorization, Namespace string
	// Status that it answers instead of anything else; 0 for none.
	Status atomic.Int64

	handler http.Handler
	mu      sync.Mutex
	counts  map[string]int
}

// NewServer makes a codec server.
func NewServer(c *Codec, authorization, namespace string) *Server {
	return &Server{
		Authorization: authorization, Namespace: namespace,
		handler: converter.NewPayloadCodecHTTPHandler(c), counts: map[string]int{},
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.counts[r.URL.Path]++
	s.mu.Unlock()
	switch status := int(s.Status.Load()); {
	case status != 0:
		http.Error(w, "as it was told", status)
	case r.Header.Get("Authorization") != s.Authorization:
		http.Error(w, "who is it?", http.StatusUnauthorized)
	case r.Header.Get("X-Namespace") != "" && r.Header.Get("X-Namespace") != s.Namespace:
		http.Error(w, "there is no key for that namespace", http.StatusBadRequest)
	default:
		s.handler.ServeHTTP(w, r)
	}
}

// Posts is how often a path was asked for.
func (s *Server) Posts(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

// Tap listens, and passes everything on to a target, in both directions; what passes is kept.
type Tap struct {
	Address string

	listener net.Listener
	mu       sync.Mutex
	passed   bytes.Buffer
}

// NewTap starts one.
func NewTap(target string) (*Tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{Address: l.Addr().String(), listener: l}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go t.pass(server, client)
			go t.pass(client, server)
		}
	}()
	return t, nil
}

// Close stops listening; connections that there are go on.
func (t *Tap) Close() { t.listener.Close() }

func (t *Tap) pass(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 65536)
	for {
		n, err := from.Read(buffer)
		t.mu.Lock()
		t.passed.Write(buffer[:n])
		t.mu.Unlock()
		if _, e := to.Write(buffer[:n]); e != nil || err != nil {
			return
		}
	}
}

// Passed is all that has passed.
func (t *Tap) Passed() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.passed.Bytes())
}

// Shows says how a text can be seen in some bytes: as it is, or within something in base64. Empty if it cannot.
func Shows(in []byte, text string) string {
	if bytes.Contains(in, []byte(text)) {
		return "as it is"
	}
	// three ways to lie in groups of three bytes; the first and the last group may have others' bits
	for shift := range 3 {
		whole := text[(3-shift)%3:]
		whole = whole[:len(whole)/3*3]
		if bytes.Contains(in, []byte(base64.StdEncoding.EncodeToString([]byte(whole)))) {
			return "in base64"
		}
	}
	return ""
}
