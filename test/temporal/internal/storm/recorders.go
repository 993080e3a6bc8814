package storm

import (
	"context"
	"math/rand/v2"
	"time"
)

// recording is what makes a request go on that waits for its key.
type recording struct {
	item     *item
	database string
	role     string
	at       time.Time
}

// toRecord has somebody record the key of a request: before it, after it, or at the same time.
func (s *session) toRecord(a *asked) {
	s.recordings <- recording{item: a.item, database: a.database, role: a.role,
		at: time.Now().Add(time.Duration(s.random.IntN(2000)) * time.Millisecond)}
}

// record records keys until there are no more; each until PostgreSQL has said that it is done.
func (s *storm) record(ctx context.Context, random *rand.Rand) {
	// a connection for each database and role
	sessions := map[[2]string]*session{}
	defer func() {
		for _, w := range sessions {
			w.close()
		}
	}()
	for r := range s.recordings {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(r.at)):
		}
		who := [2]string{r.database, r.role}
		if sessions[who] == nil {
			sessions[who] = &session{storm: s, random: random}
		}
		w := sessions[who]
		// heartbeats, of some only while this session lives, which may be killed
		var interval *string
		if random.IntN(2) == 0 {
			interval = &[]string{"1 s", "3 s"}[random.IntN(2)]
		}
		for ctx.Err() == nil {
			if w.conn == nil && w.connectTo(ctx, r.database, r.role) != nil {
				return
			}
			err := w.do(ctx, `SELECT temporal.record_activity($1, $2, heartbeat => $4, heartbeat_interval => $5::interval,
				while_session => $6, server => $3)`, r.item.key(), r.item.token, r.item.server, interval != nil, interval,
				interval != nil && random.IntN(2) == 0)
			if err == nil {
				s.ends.add("keys recorded by somebody else", 1)
				break
			}
			w.fixAfter(ctx, err)
		}
	}
}
