// Package ports finds TCP ports for servers of tests.
//
// They are taken from below the range that the kernel gives to outgoing connections. Those of servers that are stopped
// and started again have a range of their own, so that nobody takes them meanwhile.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const (
	lowest    = 20000
	firstFree = 26000 // below it they are kept
	highest   = 32000
)

var (
	mu   sync.Mutex
	kept = map[int]bool{}
)

// Keep returns n different ports of ip that nobody listens on, and that this process is not given again.
func Keep(ip string, n int) ([]int, error) {
	mu.Lock()
	defer mu.Unlock()
	return find(ip, n, lowest, firstFree, kept)
}

// Free returns n different ports of ip that nobody listens on.
func Free(ip string, n int) ([]int, error) {
	return find(ip, n, firstFree, highest, map[int]bool{})
}

// find returns n ports in [from, to) that are not taken, and takes them.
func find(ip string, n, from, to int, taken map[int]bool) ([]int, error) {
	found := make([]int, 0, n)
	for range 1000 {
		if len(found) == n {
			return found, nil
		}
		port := from + rand.IntN(to-from)
		if taken[port] {
			continue
		}
		taken[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		found = append(found, port)
	}
	return nil, fmt.Errorf("no %d free ports on %s between %d and %d", n, ip, from, to)
}
