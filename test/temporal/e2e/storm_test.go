package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"temporal_complete/test/temporal/internal/storm"
)

// TestStorm is a short storm; "make storm" makes a long one. It is not parallel to others: it takes all there is.
func TestStorm(t *testing.T) {
	err := storm.Run(t.Context(), storm.Options{
		Seed:         rand.Uint64N(1 << 32),
		Requests:     5000,
		StubRequests: 100000,
		Time:         40 * time.Second,
		Drain:        3 * time.Minute,
		Program:      program,
		Out:          t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
}
