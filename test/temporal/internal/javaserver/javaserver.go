// Package javaserver runs the test server of Temporal's SDK for Java, another implementation of Temporal's service, and
// a network before it that loses answers.
package javaserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"temporal_complete/test/temporal/internal/child"
	"temporal_complete/test/temporal/internal/ports"
)

// Server is a process of its own, which keeps all in memory.
type Server struct {
	Address string
	process *child.Process
}

// Start starts one; its jar and those that it needs are in a directory. It answers some seconds later.
func Start(jars string) (*Server, error) {
	free, err := ports.Free("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	port := fmt.Sprint(free[0])
	cmd := exec.Command("java", "-cp", filepath.Join(jars, "*"), "io.temporal.testserver.TestServer", port)
	cmd.Stderr = os.Stderr
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	return &Server{"127.0.0.1:" + port, process}, nil
}

// Kill ends it at once.
func (s *Server) Kill() error { return s.process.Stop(syscall.SIGKILL, time.Minute) }

// Network stands before a server. While it loses answers, requests get there and nothing comes back.
type Network struct {
	Address  string
	listener net.Listener
	loses    atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

// NewNetwork listens, and passes on what comes.
func NewNetwork(target string) (*Network, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &Network{Address: l.Addr().String(), listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			n.mu.Lock()
			n.conns = append(n.conns, c, s)
			n.mu.Unlock()
			go pass(s, c, nil)
			go pass(c, s, &n.loses)
		}
	}()
	return n, nil
}

func pass(to, from net.Conn, loses *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64*1024)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if loses != nil && loses.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// LoseAnswers lasts until Recover.
func (n *Network) LoseAnswers() { n.loses.Store(true) }

// Recover cuts the connections whose answers were lost; those that are made now lose nothing.
func (n *Network) Recover() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loses.Store(false)
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

// Close ends it.
func (n *Network) Close() {
	n.listener.Close()
	n.Recover()
}
