package storm

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands between PostgreSQL and a frontend, and is the network that fails.
type proxy struct {
	address string
	target  string

	// Until when a direction passes nothing on, in nanoseconds since 1970: the network is a black hole.
	stallThere atomic.Int64
	stallBack  atomic.Int64
	accepted   atomic.Int64

	mu    sync.Mutex
	pairs map[*pair]bool
}

type pair struct{ client, server *net.TCPConn }

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{address: l.Addr().String(), target: target, pairs: map[*pair]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c.(*net.TCPConn))
		}
	}()
	return p, nil
}

func (p *proxy) serve(client *net.TCPConn) {
	p.accepted.Add(1)
	c, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	pr := &pair{client, c.(*net.TCPConn)}
	p.mu.Lock()
	p.pairs[pr] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { pass(pr.server, pr.client, &p.stallThere) })
	both.Go(func() { pass(pr.client, pr.server, &p.stallBack) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, pr)
	p.mu.Unlock()
	pr.client.Close()
	pr.server.Close()
}

// pass copies one direction until it ends; what it has read while it stalls is passed on later.
func pass(to, from *net.TCPConn, stall *atomic.Int64) {
	buffer := make([]byte, 32*1024)
	for {
		n, err := from.Read(buffer)
		for time.Now().UnixNano() < stall.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				_ = from.CloseRead()
				return
			}
		}
		if err != nil {
			_ = to.CloseWrite()
			return
		}
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

func (p *proxy) open() []*pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	pairs := make([]*pair, 0, len(p.pairs))
	for pr := range p.pairs {
		pairs = append(pairs, pr)
	}
	return pairs
}

// cut ends all connections, by RST on both sides, or by FIN towards the client alone.
func (p *proxy) cut(rst bool) {
	for _, pr := range p.open() {
		if rst {
			reset(pr.client)
			reset(pr.server)
		} else {
			_ = pr.client.CloseWrite()
		}
	}
}

// stall makes a black hole for some time: of both directions, or one.
func (p *proxy) stall(random *rand.Rand, d time.Duration) string {
	until := time.Now().Add(d).UnixNano()
	switch random.IntN(3) {
	case 0:
		p.stallThere.Store(until)
		return "requests black-holed"
	case 1:
		p.stallBack.Store(until)
		return "answers black-holed"
	}
	p.stallThere.Store(until)
	p.stallBack.Store(until)
	return "both directions black-holed"
}

// calm ends all disturbances.
func (p *proxy) calm() {
	p.stallThere.Store(0)
	p.stallBack.Store(0)
}
