package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	realWriters = 8
	stubWriters = 3
	recorders   = 4
)

// Methods, as the extension numbers them: by task token, and the next one by ids.
const (
	complete  = 1
	fail      = 3
	cancel    = 5
	heartbeat = 7
)

// How a request names its activity by a key: by one that its own transaction records, or by one that another
// transaction records, at any time.
const (
	keyRecorded = 1 + iota
	keyAwaited
)

// fate of a transaction as its client knows it.
type fate int

const (
	unknown fate = iota
	committed
	rolledBack
)

// asked is a request that a writer made, or tried to make.
type asked struct {
	nonce     int64
	verb      int
	item      *item
	retryable bool
	namesRun  bool
	keyed     int // 0: it names no key
	database  string
	role      string
	fate      fate
	lazy      bool // with synchronous_commit = off: committed, and yet a crash may undo it
	// rival was committed before this one was made, in the same queue: this one cannot win.
	rival *asked
}

func (a *asked) isHeartbeat() bool { return a.verb >= heartbeat }

// batch of requests to the stub.
type batch struct {
	first, n int64
	database string
	fate     fate
	lazy     bool
}

// session is a writer's connection.
type session struct {
	*storm
	random   *rand.Rand
	conn     *pgx.Conn
	database string
	role     string
}

// connect waits for the primary of the moment.
func (s *session) connect(ctx context.Context) error {
	return s.connectTo(ctx, databases[s.random.IntN(len(databases))], roles[s.random.IntN(len(roles))])
}

func (s *session) connectTo(ctx context.Context, database, role string) error {
	s.database, s.role = database, role
	return s.await(ctx, 2*time.Minute, "no connection", func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		config, err := pgx.ParseConfig(s.primary.Load().DSNFor(s.role, s.database))
		if err != nil {
			return err
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		s.conn, err = pgx.ConnectConfig(ctx, config)
		return err
	})
}

func (s *session) close() {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.conn.Close(ctx)
		s.conn = nil
	}
}

// do carries out one statement. A server that is gone without a word is noticed by the time.
func (s *session) do(ctx context.Context, sql string, arguments ...any) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	_, err := s.conn.Exec(ctx, sql, arguments...)
	return err
}

// newAsked plans a request for an item.
func (s *session) newAsked(i *item, verb int) *asked {
	a := &asked{nonce: s.nonce.Add(1), verb: verb, item: i, namesRun: s.random.IntN(2) == 0 || i.standalone(),
		database: s.database, role: s.role}
	// A failure that is tried again is meant for one attempt: by ids it could hit the next one too.
	a.retryable = verb == fail && i.kind == kindRetry && i.attempt < 3
	if (s.random.IntN(3) == 0 || i.loops() && s.random.IntN(2) == 0) && !a.retryable && !i.byToken {
		a.verb++
	}
	if a.verb == verb {
		switch dice := s.random.IntN(8); {
		case dice < 2:
			a.keyed = keyRecorded
		case dice < 3:
			a.keyed = keyAwaited
			s.toRecord(a)
		}
	}
	// What waits for its key is overtaken by what does not.
	if i.rival != nil && i.rival.database == s.database && i.rival.role == s.role && !a.isHeartbeat() &&
		a.keyed != keyAwaited && i.rival.keyed != keyAwaited {
		a.rival = i.rival
	}
	s.mu.Lock()
	s.asked[a.nonce] = a
	s.mu.Unlock()
	return a
}

// plan makes the requests for some items: heartbeats, and a verdict in the end.
func (s *session) plan(items []*item) (list []*asked) {
	for _, i := range items {
		if s.random.IntN(2) == 0 {
			for range 1 + s.random.IntN(4) {
				list = append(list, s.newAsked(i, heartbeat))
			}
		}
		verb := complete
		switch dice := s.random.IntN(10); {
		case (i.kind == kindCancel || i.kind == kindStandaloneCancel) && dice < 6:
			verb = cancel
		case i.kind == kindRetry && i.attempt < 3 && dice < 6, dice < 2:
			verb = fail
		}
		list = append(list, s.newAsked(i, verb))
	}
	return list
}

// ended notes how a transaction ended for its requests, and gives back the items that have no verdict for sure.
func (s *session) ended(list []*asked, f fate, lazy bool) {
	s.mu.Lock()
	for _, a := range list {
		a.fate, a.lazy = f, lazy
	}
	s.mu.Unlock()
	if f == committed {
		s.realMade.Add(int64(len(list)))
	}
	for _, a := range list {
		if a.isHeartbeat() {
			continue
		}
		again := *a.item
		again.byToken = again.loops()
		switch {
		case f != committed:
			s.ready <- &again
		case again.rival == nil && s.random.IntN(6) == 0:
			// One verdict too many: who comes first wins.
			again.rival = a
			s.ready <- &again
		}
	}
}

// isDead tells a lost connection from a statement that failed.
func isDead(err error) bool {
	var pgErr *pgconn.PgError
	return !errors.As(err, &pgErr) || strings.HasPrefix(pgErr.Code, "57P") || pgErr.Severity == "FATAL"
}

func (s *storm) writeReal(ctx, rage context.Context, random *rand.Rand) {
	w := &session{storm: s, random: random}
	defer w.close()
	for ctx.Err() == nil {
		var items []*item
		n := 1 + random.IntN(6)
		for len(items) < n {
			select {
			case i := <-s.ready:
				items = append(items, i)
				continue
			case <-time.After(50 * time.Millisecond):
			}
			break
		}
		if len(items) == 0 {
			if rage.Err() != nil {
				return
			}
			continue
		}
		for w.conn == nil || random.IntN(20) == 0 {
			w.close()
			if err := w.connect(ctx); err != nil {
				return
			}
		}
		w.transaction(ctx, items, rage.Err() != nil)
	}
}

// transaction makes requests for the items in one of many ways.
func (s *session) transaction(ctx context.Context, items []*item, calm bool) {
	list := s.plan(items)
	lazy := !calm && s.random.IntN(4) == 0
	if lazy {
		s.lazy.RLock()
		defer s.lazy.RUnlock()
	}
	dice := s.random.IntN(100)
	if calm {
		dice = 0
	}
	var vain []*asked
	if dice >= 45 && dice < 70 {
		vain = s.plan(items)
	}
	err := s.body(ctx, list, vain, dice, lazy)
	if err != nil {
		// COMMIT was not sent.
		s.ends.add("lost before COMMIT", 1)
		s.ended(append(list, vain...), rolledBack, lazy)
		s.fixAfter(ctx, err)
		return
	}
	s.markVain(vain)
	switch {
	case dice < 70:
		err = s.do(ctx, "COMMIT")
		if err != nil {
			s.ends.add("COMMIT without an answer", 1)
			s.ended(list, unknown, lazy)
			break
		}
		s.ends.add([]string{"COMMIT", "COMMIT after ROLLBACK TO", "COMMIT after an exception block"}[kindOfCommit(dice)], 1)
		if lazy {
			s.ends.add("COMMIT with synchronous_commit = off", 1)
		}
		s.ended(list, committed, lazy)
	case dice < 78:
		err = s.do(ctx, "ROLLBACK")
		s.ends.add("ROLLBACK", 1)
		s.ended(list, rolledBack, lazy)
	case dice < 82:
		// A transaction that fails, and is committed all the same
		err = s.do(ctx, "SELECT 1 / 0")
		if err == nil || !isDead(err) {
			err = s.do(ctx, "COMMIT")
		}
		s.ends.add("COMMIT of a failed transaction", 1)
		s.ended(list, rolledBack, lazy)
	case dice < 85:
		s.close()
		s.ends.add("connection closed", 1)
		s.ended(list, rolledBack, lazy)
	default:
		err = s.twoPhases(ctx, list, dice, lazy)
	}
	s.fixAfter(ctx, err)
}

func kindOfCommit(dice int) int {
	switch {
	case dice < 45:
		return 0
	case dice < 58:
		return 1
	}
	return 2
}

// body is all up to the end of the transaction.
func (s *session) body(ctx context.Context, list, vain []*asked, dice int, lazy bool) error {
	if err := s.do(ctx, "BEGIN"); err != nil {
		return err
	}
	if lazy {
		if err := s.do(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
	}
	half := len(list)
	if len(vain) > 0 {
		// what is undone may come between two requests for one activity
		half = s.random.IntN(len(list) + 1)
	}
	if half > 0 {
		if err := s.do(ctx, "SELECT ask_all($1)", jsonOf(list[:half])); err != nil {
			return err
		}
	}
	if len(vain) > 0 {
		statements := []string{"SAVEPOINT s", "SELECT ask_all($1)", "ROLLBACK TO s"}
		if kindOfCommit(dice) == 2 {
			statements = []string{"SELECT ask_in_vain(format('ask_all(%L)', $1::text))"}
		}
		for _, sql := range statements {
			var arguments []any
			if strings.Contains(sql, "$1") {
				arguments = append(arguments, jsonOf(vain))
			}
			if err := s.do(ctx, sql, arguments...); err != nil {
				return err
			}
		}
	}
	if half < len(list) {
		return s.do(ctx, "SELECT ask_all($1)", jsonOf(list[half:]))
	}
	return nil
}

func (s *session) markVain(vain []*asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range vain {
		a.fate = rolledBack
	}
}

// twoPhases prepares the transaction; its name says how it is to end.
func (s *session) twoPhases(ctx context.Context, list []*asked, dice int, lazy bool) error {
	end, how := "COMMIT PREPARED", "c"
	if dice >= 94 {
		end, how = "ROLLBACK PREPARED", "r"
	}
	name := fmt.Sprintf("%s-%d", how, list[0].nonce)
	if err := s.do(ctx, "PREPARE TRANSACTION '"+name+"'"); err != nil {
		s.ends.add("PREPARE without an answer", 1)
		f := unknown
		if how == "r" {
			f = rolledBack
		}
		s.ended(list, f, lazy)
		return err
	}
	if dice%3 == 0 {
		s.ends.add("left prepared", 1)
	} else if err := s.do(ctx, end+" '"+name+"'"); err != nil {
		s.ends.add(end+" without an answer", 1)
		f := unknown
		if how == "r" {
			f = rolledBack
		}
		s.ended(list, f, lazy)
		return err
	} else {
		s.ends.add(end, 1)
		f := committed
		if how == "r" {
			f = rolledBack
		}
		s.ended(list, f, lazy)
		return nil
	}
	if how == "r" {
		s.ended(list, rolledBack, lazy)
		return nil
	}
	// Somebody else commits it later; there is nothing to say about it, but that its requests are made.
	s.realMade.Add(int64(len(list)))
	return nil
}

// resolvePrepared ends the transactions that were left prepared: all of them, or those that are some seconds old.
func (s *storm) resolvePrepared(ctx context.Context, all bool) error {
	for _, database := range databases {
		err := s.with(ctx, database, func(c *pgx.Conn) error {
			rows, err := c.Query(ctx, `SELECT gid FROM pg_prepared_xacts WHERE database = current_database()
				AND ($1 OR prepared < clock_timestamp() - interval '5 s')`, all)
			if err != nil {
				return err
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			for _, name := range names {
				end := "COMMIT PREPARED"
				if strings.HasPrefix(name, "r") {
					end = "ROLLBACK PREPARED"
				}
				// its own session may have done it in between
				if _, err := c.Exec(ctx, end+" '"+name+"'"); err == nil {
					s.ends.add(end+" by somebody else", 1)
				} else if isDead(err) {
					return err
				}
			}
			return nil
		})
		if err != nil && all {
			return err
		}
	}
	return nil
}

// fixAfter makes the session usable after an error.
func (s *session) fixAfter(ctx context.Context, err error) {
	if err == nil || s.conn == nil {
		return
	}
	if !isDead(err) && s.do(ctx, "ROLLBACK") == nil {
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code != "22012" {
			s.ends.add("error: "+pgErr.Message, 1)
		}
		return
	}
	s.close()
}

const stubBatch = 250

func (s *storm) writeStub(ctx, rage context.Context, random *rand.Rand) {
	w := &session{storm: s, random: random}
	defer w.close()
	for rage.Err() == nil && s.stubMade.Load() < s.StubRequests {
		if s.stubIsAhead() {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for w.conn == nil {
			if err := w.connect(rage); err != nil {
				return
			}
		}
		w.stubTransaction(ctx)
	}
}

// stubIsAhead lets both parts of the storm last until its end.
func (s *storm) stubIsAhead() bool {
	return s.realMade.Load() < s.Requests &&
		float64(s.stubMade.Load())/float64(s.StubRequests) > 0.02+float64(s.realMade.Load())/float64(s.Requests)
}

// stubTransaction makes many requests in one transaction.
func (s *session) stubTransaction(ctx context.Context) {
	n := int64(1 + s.random.IntN(2*stubBatch))
	b := batch{first: s.nonce.Add(n) - n + 1, n: n, database: s.database, lazy: s.random.IntN(2) == 0}
	server := stubServers[s.random.IntN(len(stubServers))]
	if b.lazy {
		s.lazy.RLock()
		defer s.lazy.RUnlock()
	}
	done := func(f fate, what string, err error) {
		b.fate = f
		s.mu.Lock()
		s.batches = append(s.batches, b)
		s.mu.Unlock()
		if f == committed {
			s.stubMade.Add(n)
		}
		s.ends.add(what, 1)
		s.fixAfter(ctx, err)
	}
	how := "ids"
	switch dice := s.random.IntN(16); {
	case dice < 4:
		how = "tokens"
	case dice < 6:
		how = "keys"
	}
	call := fmt.Sprintf("ask_stub(%d, %d, '%s', '%s')", b.first, n, server, how)
	statements := []string{"BEGIN"}
	if b.lazy {
		statements = append(statements, "SET LOCAL synchronous_commit = off")
	}
	dice := s.random.IntN(20)
	switch dice {
	case 0:
		statements = append(statements, "SAVEPOINT s", "SELECT "+call, "ROLLBACK TO s")
	case 1:
		statements = append(statements, "SELECT ask_in_vain('"+strings.ReplaceAll(call, "'", "''")+"')")
	default:
		statements = append(statements, "SELECT "+call)
	}
	for _, sql := range statements {
		if err := s.do(ctx, sql); err != nil {
			done(rolledBack, "stub: lost before COMMIT", err)
			return
		}
	}
	switch dice {
	case 0, 1:
		done(rolledBack, "stub: COMMIT after all was undone", s.do(ctx, "COMMIT"))
	case 2, 3:
		done(rolledBack, "stub: ROLLBACK", s.do(ctx, "ROLLBACK"))
	case 4:
		name := fmt.Sprintf("c-%d", b.first)
		err := s.do(ctx, "PREPARE TRANSACTION '"+name+"'")
		if err == nil && s.random.IntN(2) == 0 {
			err = s.do(ctx, "COMMIT PREPARED '"+name+"'")
		}
		done(unknown, "stub: PREPARE", err)
	default:
		if err := s.do(ctx, "COMMIT"); err != nil {
			done(unknown, "stub: COMMIT without an answer", err)
			return
		}
		done(committed, "stub: COMMIT", nil)
	}
}
