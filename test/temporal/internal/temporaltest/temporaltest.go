// Package temporaltest runs Temporal servers for tests as processes of their own, which can be stopped, killed and
// started again.
package temporaltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"temporal_complete/test/temporal/internal/child"
	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/ports"
)

// Program returns the path of temporal-test: the environment variable TEMPORAL_TEST, or it is built into dir.
func Program(dir string) (string, error) {
	if path := os.Getenv("TEMPORAL_TEST"); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "temporal-test")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "temporal_complete/test/temporal/cmd/temporal-test")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build temporal-test: %w\n%s", err, text)
	}
	return path, nil
}

// serverProgram is the program of the server: the environment variable TEMPORAL_SERVER names that of another release.
func serverProgram(program string) string {
	if path := os.Getenv("TEMPORAL_SERVER"); path != "" {
		return path
	}
	return program
}

// Server is a Temporal server. Its address stays the same when it is started again.
type Server struct {
	Address     string
	HTTPAddress string

	program   string
	arguments []string
	control   string
	process   *child.Process
	stderr    *bytes.Buffer
}

// New chooses addresses for a server and starts it; arguments are further flags of "temporal-test server".
func New(program string, arguments ...string) (*Server, error) {
	const ip = "127.0.0.1"
	free, err := ports.Keep(ip, 3)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Address:     ip + ":" + strconv.Itoa(free[0]),
		HTTPAddress: ip + ":" + strconv.Itoa(free[1]),
		program:     serverProgram(program),
		control:     "http://" + ip + ":" + strconv.Itoa(free[2]),
	}
	s.arguments = append([]string{
		"server", "-ip", ip,
		"-port", strconv.Itoa(free[0]),
		"-http-port", strconv.Itoa(free[1]),
		"-control-port", strconv.Itoa(free[2]),
	}, arguments...)
	return s, s.Start()
}

// ForeignServer gives the options of a foreign server for it, in SQL. The
// environment variable TRANSPORT says by which of the transports: grpc, which
// is also the default, or http.
func (s *Server) ForeignServer() string {
	if os.Getenv("TRANSPORT") == "http" {
		return "address '" + s.HTTPAddress + "', transport 'http'"
	}
	return "address '" + s.Address + "'"
}

// Start starts the server, once more if it was stopped, and waits until it answers.
func (s *Server) Start() error {
	cmd := exec.Command(s.program, s.arguments...)
	s.stderr = &bytes.Buffer{}
	cmd.Stderr = s.stderr
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout = in
	s.process, err = child.Start(cmd, syscall.SIGKILL)
	in.Close()
	if err != nil {
		return err
	}
	// The server prints one line when it answers; if it does not start, the pipe is closed.
	line := make([]byte, 1)
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := out.Read(line); err != nil {
		stop := s.process.Stop(syscall.SIGKILL, time.Minute)
		return errors.Join(fmt.Errorf("the Temporal server did not start: %w\n%s", err, s.stderr), stop)
	}
	return nil
}

// Stop stops the server as an operator would.
func (s *Server) Stop() error { return s.process.Stop(syscall.SIGTERM, 30*time.Second) }

// Kill ends the server at once.
func (s *Server) Kill() error { return s.process.Stop(syscall.SIGKILL, 30*time.Second) }

// Suspend stops the process without ending it: it answers nothing, but its connections stay.
func (s *Server) Suspend() error { return s.process.Signal(syscall.SIGSTOP) }

// Resume undoes Suspend.
func (s *Server) Resume() error { return s.process.Signal(syscall.SIGCONT) }

// AddFault switches a rule on.
func (s *Server) AddFault(r fault.Rule) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.call(http.MethodPost, "/faults", bytes.NewReader(text), nil)
}

// Faults returns the rules that are on, with how often each was applied.
func (s *Server) Faults() ([]fault.Rule, error) {
	var rules []fault.Rule
	err := s.call(http.MethodGet, "/faults", nil, &rules)
	return rules, err
}

// ClearFaults switches all rules off.
func (s *Server) ClearFaults() error { return s.call(http.MethodDelete, "/faults", nil, nil) }

// Counters returns the account by method.
func (s *Server) Counters() (map[string]fault.MethodCounters, error) {
	var counters map[string]fault.MethodCounters
	err := s.call(http.MethodGet, "/counters", nil, &counters)
	return counters, err
}

// ResetCounters forgets what was counted.
func (s *Server) ResetCounters() error { return s.call(http.MethodDelete, "/counters", nil, nil) }

func (s *Server) call(method, path string, body io.Reader, answer any) error {
	req, err := http.NewRequest(method, s.control+path, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(text)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}
