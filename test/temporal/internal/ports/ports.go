// Package ports finds TCP ports for servers of tests.
//
// They are taken from below the range that the kernel gives to outgoing connections: a server that is
// stopped and started again finds its port still free.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	lowest  = 20000
	highest = 32000
)

// Free returns n different ports of ip that nobody listens on.
func Free(ip string, n int) ([]int, error) {
	found := make([]int, 0, n)
	taken := map[int]bool{}
	for range 1000 {
		if len(found) == n {
			return found, nil
		}
		port := lowest + rand.IntN(highest-lowest)
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
	return nil, fmt.Errorf("no %d free ports on %s between %d and %d", n, ip, lowest, highest)
}
