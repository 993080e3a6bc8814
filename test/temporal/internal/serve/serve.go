// Package serve is the command that runs a Temporal server until it is stopped.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/ports"
	"temporal_complete/test/temporal/internal/server"
)

// readyMessage tells where a server is reached. It is printed, and written to the ready file, once it answers.
type readyMessage struct {
	Address     string `json:"address"`
	HTTPAddress string `json:"http_address,omitempty"`
	Control     string `json:"control"`
	PID         int    `json:"pid"`
}

// List is a flag that may be given several times.
type List []string

func (l *List) String() string     { return strings.Join(*l, ",") }
func (l *List) Set(s string) error { *l = append(*l, s); return nil }

// dynamicValues is the flag KEY=JSON.
type dynamicValues map[string]any

func (d dynamicValues) String() string { return "" }

func (d dynamicValues) Set(s string) error {
	key, text, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("must be KEY=JSON")
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return fmt.Errorf("%s is not JSON: %w", text, err)
	}
	d[key] = value
	return nil
}

// Command declares the flags and returns what is to run once they are parsed.
func Command(flags *flag.FlagSet) func(context.Context, []string) error {
	o := server.Options{DynamicConfig: map[string]any{}}
	var controlPort int
	var readyFile string
	flags.StringVar(&o.IP, "ip", "127.0.0.1", "address to listen on")
	flags.IntVar(&o.Port, "port", 0, "port of the frontend; 0 takes a free one")
	flags.IntVar(&o.HTTPPort, "http-port", 0, "port of the HTTP API; 0 takes a free one, -1 switches it off")
	flags.IntVar(&controlPort, "control-port", 0, "port of the control API, on 127.0.0.1; 0 takes a free one")
	flags.Var((*List)(&o.Namespaces), "namespace", "namespace to create (may be repeated; default \"default\")")
	flags.StringVar(&o.DBFile, "db-filename", "", "keep the state in this SQLite `file`; in memory without")
	flags.StringVar(&o.TLSCertFile, "tls-cert", "", "`file` with the frontend's certificate; switches TLS on")
	flags.StringVar(&o.TLSKeyFile, "tls-key", "", "`file` with the key of that certificate")
	flags.StringVar(&o.TLSClientCAFile, "tls-client-ca", "", "require client certificates of the authority in this `file`")
	flags.Var((*List)(&o.APIKeys), "api-key", "let in only bearers of this `key` (may be repeated)")
	flags.Var(dynamicValues(o.DynamicConfig), "dynamic-config-value", "`KEY=JSON` of the dynamic configuration (may be repeated)")
	flags.StringVar(&o.LogLevel, "log-level", "", "log to stderr from this level on: debug, info, warn, error; nothing without")
	flags.StringVar(&readyFile, "ready-file", "", "`file` to write when the server answers: the JSON that is also printed")

	return func(ctx context.Context, _ []string) error {
		starting, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		s, err := server.Start(starting, o)
		if err != nil {
			return err
		}
		control, err := serveControl(s, controlPort)
		if err != nil {
			return err
		}
		ready := readyMessage{Address: s.Address, HTTPAddress: s.HTTPAddress, Control: control, PID: os.Getpid()}
		if err := announce(ready, readyFile); err != nil {
			return err
		}
		<-ctx.Done()

		// Temporal waits for long polls and its workers when it is stopped; a test does not wait for them.
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop() }()
		select {
		case err := <-stopped:
			return err
		case <-time.After(3 * time.Second):
			return nil
		}
	}
}

// serveControl serves the control API and returns its URL.
//
//	/faults, /counters, /identities   see package fault
//	POST /dynamic-config              changes the values in the body, a JSON object
func serveControl(s *server.Server, port int) (string, error) {
	if port == 0 {
		free, err := ports.Free("127.0.0.1", 1)
		if err != nil {
			return "", err
		}
		port = free[0]
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.Faults.Handler())
	mux.HandleFunc("POST /dynamic-config", func(w http.ResponseWriter, req *http.Request) {
		var values map[string]any
		if err := fault.ReadJSON(req.Body, &values); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for key, value := range values {
			s.SetDynamicConfig(key, value)
		}
	})
	go http.Serve(l, mux) //nolint:errcheck,gosec // lives as long as the process
	return "http://" + l.Addr().String(), nil
}

// announce writes the file under another name first: who sees it sees all of it.
func announce(ready readyMessage, file string) error {
	text, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	if file != "" {
		if err := os.WriteFile(file+".new", append(text, '\n'), 0o644); err != nil {
			return err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return err
		}
	}
	_, err = fmt.Println(string(text))
	return err
}
