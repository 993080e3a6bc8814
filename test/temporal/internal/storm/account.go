package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"temporal_complete/test/temporal/internal/flows"
)

// drain waits until the outboxes are empty.
func (s *storm) drain(ctx context.Context, began time.Time) error {
	const query = "SELECT count(*) FROM temporal_internal.outbox"
	end := time.Now().Add(s.Drain)
	report := time.Now()
	for {
		left := int64(0)
		for _, database := range databases {
			n, err := s.number(ctx, database, query)
			if err != nil {
				return err
			}
			left += n
		}
		if left == 0 {
			return nil
		}
		if time.Since(report) > 10*time.Second {
			fmt.Fprintf(s.Out, "%4.0f s: %d requests wait\n", time.Since(began).Seconds(), left)
			report = time.Now()
			if err := s.recordAgain(ctx); err != nil {
				return err
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d requests have no outcome after %s of calm:\n%s", left, s.Drain, s.waiting(ctx))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// recordAgain records the keys of requests that wait for them though everybody has recorded theirs: a verdict by the
// same key took effect, after which it is forgotten, before these were committed.
func (s *storm) recordAgain(ctx context.Context) error {
	for _, database := range databases {
		err := s.with(ctx, database, func(c *pgx.Conn) error {
			rows, err := c.Query(ctx, `SELECT l.nonce FROM temporal.request r JOIN ledger l ON l.request_id = r.id
				WHERE r.state = 'waiting' AND r.key IS NOT NULL LIMIT 1000`)
			if err != nil {
				return err
			}
			nonces, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				return err
			}
			for _, nonce := range nonces {
				a := s.asked[nonce]
				if _, err := c.Exec(ctx, "SET ROLE "+pgx.Identifier{a.role}.Sanitize()); err != nil {
					return err
				}
				if _, err := c.Exec(ctx, "SELECT temporal.record_activity($1, $2, server => $3)",
					a.item.key(), a.item.token, a.item.server); err != nil {
					return err
				}
				s.ends.add("keys recorded again", 1)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// waiting describes requests that wait.
func (s *storm) waiting(ctx context.Context) string {
	var text strings.Builder
	for _, database := range databases {
		err := s.with(ctx, database, func(c *pgx.Conn) error {
			rows, err := c.Query(ctx, `SELECT format('  %s: %s', current_database(), r) FROM temporal.request r
				WHERE state NOT IN ('delivered', 'rejected', 'unconfirmed', 'superseded') ORDER BY id LIMIT 10`)
			if err != nil {
				return err
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			fmt.Fprintln(&text, strings.Join(lines, "\n"))
			return err
		})
		if err != nil {
			fmt.Fprintln(&text, err)
		}
	}
	return text.String()
}

// account compares what was asked for, what the extension says and what Temporal says.
func (s *storm) account(ctx context.Context) error {
	var wrong findings
	outcomes := &tally{}
	entries, err := s.readLedgers(ctx, &wrong)
	if err != nil {
		return err
	}
	byIdentity, byNonce := identities{}, map[int64]*entry{}
	byActivity := map[string][]*entry{}
	for _, e := range entries {
		byNonce[e.nonce] = e
		byIdentity.add(e)
		byActivity[e.activity()] = append(byActivity[e.activity()], e)
	}
	s.checkFates(byNonce, &wrong)

	var activities map[string]*seen
	// An end that is buffered while a workflow task is in flight is not in the history yet.
	err = s.await(ctx, time.Minute, "histories", func() error {
		var err error
		if activities, err = s.readTemporal(ctx, &wrong); err != nil {
			return err
		}
		for _, e := range entries {
			if v := activities[e.activity()]; e.state == "delivered" && !e.isHeartbeat() && (v == nil || v.pending && len(v.failedBy) == 0) {
				return fmt.Errorf("%s has no end", e.activity())
			}
		}
		return nil
	})
	if err != nil {
		wrong.add("%v", err)
	}
	s.judge(byIdentity, byNonce, byActivity, activities, &wrong, outcomes)
	s.accountStub(ctx, &wrong, outcomes)
	s.accountStatistics(ctx, &wrong, outcomes)

	s.supplies.mu.Lock()
	for _, text := range s.supplies.strange {
		wrong.add("%s", text)
	}
	for _, nonce := range s.supplies.details {
		outcomes.add("heartbeat details that a later attempt was given", 1)
		if e := byNonce[nonce]; e == nil || !e.isHeartbeat() {
			wrong.add("a heartbeat with nonce %d is in Temporal that was never committed", nonce)
		}
	}
	outcomes.add("workflows", int64(len(s.supplies.workflows)))
	outcomes.add("standalone activities", int64(len(s.supplies.standalone)))
	s.supplies.mu.Unlock()

	s.faults.print(s.Out, "faults")
	s.ends.print(s.Out, "transactions")
	outcomes.print(s.Out, "outcomes")
	if wrong.total > 0 {
		return fmt.Errorf("%d findings:\n%s", wrong.total, strings.Join(wrong.list, "\n"))
	}
	fmt.Fprintln(s.Out, "0 lost, 0 sent without commit, 0 false outcomes")
	return nil
}

// readLedgers reads all requests to Temporal that were committed, with their outcomes.
func (s *storm) readLedgers(ctx context.Context, wrong *findings) ([]*entry, error) {
	var entries []*entry
	for _, database := range databases {
		err := s.with(ctx, database, func(c *pgx.Conn) error {
			rows, err := c.Query(ctx, `
WITH outcome AS (
    SELECT id, CASE WHEN confirmed THEN 'delivered' WHEN confirmed IS NULL THEN 'superseded' ELSE 'unconfirmed' END AS state, error_code, error_message, requested_at
      FROM temporal_internal.delivery
    UNION ALL
    SELECT id, CASE WHEN confirmed THEN 'delivered' ELSE 'superseded' END, NULL, NULL, requested_at FROM temporal_internal.last_heartbeat
    UNION ALL
    SELECT id, CASE WHEN maybe_sent THEN 'unconfirmed' ELSE 'rejected' END, error_code, error_message, requested_at
      FROM temporal_internal.rejected
)
SELECT nonce, request_id, verb, server, coalesce(workflow_id, ''), activity_id, attempt,
       format('postgresql:%s/%s@%s/%s/%s/%s', current_database(), request_id, system_identifier, d.oid, xid,
              (extract(epoch FROM min(o.requested_at)) * 1000000)::bigint),
       coalesce(min(o.state), ''), count(o.id), coalesce(min(o.error_code), ''), coalesce(min(o.error_message), '')
  FROM ledger LEFT JOIN outcome o ON o.id = request_id, pg_control_system(), pg_database d
 WHERE d.datname = current_database()
 GROUP BY ledger.nonce, d.oid, system_identifier
 ORDER BY request_id`)
			if err != nil {
				return err
			}
			var e entry
			_, err = pgx.ForEachRow(rows, []any{&e.nonce, &e.requestID, &e.verb, &e.server, &e.workflowID, &e.activityID,
				&e.attempt, &e.identity, &e.state, &e.outcomes, &e.code, &e.message}, func() error {
				one := e
				one.asked = s.asked[one.nonce]
				switch {
				case one.outcomes == 0 && one.isHeartbeat():
					one.state = "counted"
				case one.outcomes != 1:
					wrong.add("%d outcomes: %s", one.outcomes, &one)
				}
				entries = append(entries, &one)
				return nil
			})
			if err != nil {
				return err
			}
			rows, err = c.Query(ctx, miscounted)
			if err != nil {
				return err
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			for _, line := range lines {
				wrong.add("%s", line)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// miscounted are activities of which not as many heartbeats are counted as have no outcome.
const miscounted = `
	WITH outcome AS (
	    SELECT id, workflow_id, activity_id, earlier_heartbeats AS earlier FROM temporal_internal.delivery
	    UNION ALL SELECT id, workflow_id, activity_id, earlier FROM temporal_internal.last_heartbeat
	    UNION ALL SELECT id, NULL, NULL, NULL FROM temporal_internal.rejected),
	counted AS (
	    SELECT coalesce(workflow_id, '') AS workflow_id, activity_id, sum(earlier) AS n FROM outcome
	     WHERE earlier > 0 GROUP BY 1, 2),
	missing AS (
	    SELECT coalesce(workflow_id, '') AS workflow_id, split_part(activity_id, '#', 1) AS activity_id, count(*) AS n FROM ledger
	     WHERE verb >= 7 AND NOT EXISTS (SELECT FROM outcome WHERE id = request_id) GROUP BY 1, 2)
	SELECT format('%s: heartbeats of %s/%s: %s without an outcome, %s counted', current_database(), workflow_id, activity_id,
	              coalesce(m.n, 0), coalesce(c.n, 0))
	  FROM counted c FULL JOIN missing m USING (workflow_id, activity_id) WHERE c.n IS DISTINCT FROM m.n LIMIT 10`

// checkFates compares the ledger with what the writers were told.
func (s *storm) checkFates(byNonce map[int64]*entry, wrong *findings) {
	for nonce, a := range s.asked {
		e := byNonce[nonce]
		switch {
		case a.fate == committed && e == nil && !a.lazy:
			wrong.add("nonce %d was committed, and is not in the ledger: PostgreSQL lost it", nonce)
		case a.fate == rolledBack && e != nil:
			wrong.add("rolled back, and in the ledger: %s", e)
		}
	}
}

// readTemporal reads what became of all activities.
func (s *storm) readTemporal(ctx context.Context, wrong *findings) (map[string]*seen, error) {
	var mu sync.Mutex
	found := map[string]*seen{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	keep := func(list ...*seen) {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range list {
			found[v.key()] = v
		}
	}
	for _, w := range s.supplies.workflows {
		group.Go(func() error {
			list, err := s.readWorkflow(ctx, w, wrong)
			keep(list...)
			return err
		})
	}
	for _, a := range s.supplies.standalone {
		group.Go(func() error {
			v, err := s.readStandalone(ctx, a)
			if v != nil {
				keep(v)
			}
			return err
		})
	}
	return found, group.Wait()
}

func nonceOf(payloads *commonpb.Payloads) int64 {
	var value struct {
		Nonce int64 `json:"nonce"`
	}
	if len(payloads.GetPayloads()) == 1 {
		_ = json.Unmarshal(payloads.GetPayloads()[0].GetData(), &value)
	}
	return value.Nonce
}

func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}

// readRuns reads the histories of a workflow's runs, the first one first; nil if it was not started.
func (s *storm) readRuns(ctx context.Context, w started) (runs [][]*historypb.HistoryEvent, err error) {
	for runID := ""; ; {
		var run []*historypb.HistoryEvent
		events := s.clients[w.namespace].GetWorkflowHistory(ctx, w.workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if isNotFound(err) && runID == "" {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			run = append(run, event)
		}
		runs = append(runs, run)
		runID = run[0].GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId()
		if runID == "" {
			slices.Reverse(runs)
			return runs, nil
		}
	}
}

// readWorkflow reads a workflow's history, and checks that it was told what stands there.
func (s *storm) readWorkflow(ctx context.Context, w started, wrong *findings) ([]*seen, error) {
	c := s.clients[w.namespace]
	loops := (&item{kind: kindOf(w.workflowID)}).loops()
	byID := map[string]*seen{}
	var list []*seen
	var told []flows.Outcome
	runs, err := s.readRuns(ctx, w)
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		byEvent := map[int64]*seen{}
		for _, event := range run {
			if a := event.GetActivityTaskScheduledEventAttributes(); a != nil {
				v := &seen{namespace: w.namespace, workflowID: w.workflowID, activityID: a.GetActivityId(), pending: true}
				if loops {
					v.activityID = fmt.Sprintf("%s#%d", a.GetActivityId(), len(list))
				}
				byEvent[event.GetEventId()], byID[a.GetActivityId()] = v, v
				list = append(list, v)
			}
			if a := event.GetActivityTaskStartedEventAttributes(); a != nil {
				v := byEvent[a.GetScheduledEventId()]
				v.attempt = a.GetAttempt()
				if f := a.GetLastFailure(); f != nil {
					v.failedBy = append(v.failedBy, f.GetSource())
				}
			}
			closed := func(scheduled int64, identity, how string, nonce int64) {
				v := byEvent[scheduled]
				if v.closedBy != "" {
					wrong.add("closed twice: %s", v.key())
				}
				v.closedBy, v.event, v.nonce, v.pending = identity, how, nonce, false
			}
			if a := event.GetActivityTaskCompletedEventAttributes(); a != nil {
				closed(a.GetScheduledEventId(), a.GetIdentity(), "completed", nonceOf(a.GetResult()))
			}
			if a := event.GetActivityTaskFailedEventAttributes(); a != nil {
				closed(a.GetScheduledEventId(), a.GetIdentity(), "failed", nonceOf(a.GetFailure().GetApplicationFailureInfo().GetDetails()))
				if source := a.GetFailure().GetSource(); source != a.GetIdentity() {
					wrong.add("%s: the failure's source %q is not the identity %q", w.workflowID, source, a.GetIdentity())
				}
			}
			if a := event.GetActivityTaskCanceledEventAttributes(); a != nil {
				closed(a.GetScheduledEventId(), a.GetIdentity(), "canceled", nonceOf(a.GetDetails()))
			}
			if a := event.GetActivityTaskTimedOutEventAttributes(); a != nil {
				closed(a.GetScheduledEventId(), "(timeout)", "timed out", 0)
			}
			if a := event.GetWorkflowExecutionCompletedEventAttributes(); a != nil {
				if err := json.Unmarshal(a.GetResult().GetPayloads()[0].GetData(), &told); err != nil {
					return nil, err
				}
			}
		}
	}
	for turn, o := range told {
		v := byID[o.ActivityID]
		if loops && turn < len(list) {
			v = list[turn]
		}
		if nonce := toldNonce(o); v == nil || nonce != v.nonce {
			wrong.add("the workflow %s was told nonce %d of activity %s, its history has %+v", w.workflowID, nonce, o.ActivityID, v)
		}
	}
	if told != nil || runs == nil {
		return list, nil
	}
	d, err := c.DescribeWorkflowExecution(ctx, w.workflowID, "")
	if err != nil {
		return nil, err
	}
	for _, a := range d.GetPendingActivities() {
		if v := byID[a.GetActivityId()]; v != nil {
			v.attempt, v.heartbeat = a.GetAttempt(), nonceOf(a.GetHeartbeatDetails())
			if f := a.GetLastFailure(); f != nil {
				v.failedBy = append(v.failedBy, f.GetSource())
			}
		}
	}
	return list, nil
}

// toldNonce is the nonce in what a workflow got.
func toldNonce(o flows.Outcome) int64 {
	var value struct {
		Nonce int64 `json:"nonce"`
	}
	if o.Result != nil {
		_ = json.Unmarshal(o.Result.JSON, &value)
	}
	for f := o.Failure; f != nil; f = f.Cause {
		if len(f.Details) == 1 {
			_ = json.Unmarshal(f.Details[0].JSON, &value)
		}
	}
	return value.Nonce
}

func (s *storm) readStandalone(ctx context.Context, a started) (*seen, error) {
	d, err := s.clients[a.namespace].WorkflowService().DescribeActivityExecution(ctx, &workflowservice.DescribeActivityExecutionRequest{
		Namespace: a.namespace, ActivityId: a.workflowID, IncludeOutcome: true})
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := &seen{namespace: a.namespace, activityID: a.workflowID, attempt: d.GetInfo().GetAttempt(),
		heartbeat: nonceOf(d.GetInfo().GetHeartbeatDetails())}
	var failure *failurepb.Failure
	switch d.GetInfo().GetStatus() {
	case enumspb.ACTIVITY_EXECUTION_STATUS_COMPLETED:
		v.event, v.closedBy, v.nonce = "completed", d.GetInfo().GetLastWorkerIdentity(), nonceOf(d.GetOutcome().GetResult())
	case enumspb.ACTIVITY_EXECUTION_STATUS_FAILED:
		failure = d.GetOutcome().GetFailure()
		v.event, v.closedBy, v.nonce = "failed", failure.GetSource(), nonceOf(failure.GetApplicationFailureInfo().GetDetails())
	case enumspb.ACTIVITY_EXECUTION_STATUS_CANCELED:
		v.event, v.canceled, v.nonce = "canceled", true, nonceOf(d.GetOutcome().GetFailure().GetCanceledFailureInfo().GetDetails())
	default:
		v.pending = true
	}
	return v, nil
}

// judge finds what is wrong with the outcomes of the requests to Temporal.
func (s *storm) judge(byIdentity identities, byNonce map[int64]*entry, byActivity map[string][]*entry,
	activities map[string]*seen, wrong *findings, outcomes *tally) {
	// Nothing is in Temporal that is not in the ledger, and what is there is what was asked for.
	for _, v := range activities {
		if v.heartbeat != 0 && (byNonce[v.heartbeat] == nil || !byNonce[v.heartbeat].isHeartbeat()) {
			wrong.add("a heartbeat of nobody: %+v", v)
		}
		for _, identity := range v.failedBy {
			if e := byIdentity.of(identity); e == nil {
				wrong.add("failed by a request that was never committed: %+v", v)
			} else {
				e.evidence += " (failed an attempt)"
			}
		}
		switch {
		case v.canceled:
			// Its details tell whose report that was.
			e := byNonce[v.nonce]
			if e == nil || e.activity() != v.key() {
				wrong.add("cancelled by a request that was never committed: %+v", v)
			} else {
				e.evidence += " (closed it)"
			}
		case v.closedBy != "":
			e := byIdentity.of(v.closedBy)
			if e == nil {
				wrong.add("ended by a request that was never committed: %+v", v)
				continue
			}
			e.evidence += " (closed it)"
			if meant := activities[e.activity()]; e.nonce != v.nonce || meant != v && !overtaken(e, endOf(meant, byIdentity, byNonce)) {
				wrong.add("%s has the end that was meant otherwise: %s; what was meant was ended by %s", v.key(), e,
					endOf(meant, byIdentity, byNonce))
			}
			if how := []string{"completed", "failed", "canceled"}[(e.verb-1)/2]; how != v.event {
				wrong.add("%s is %s: %s", v.key(), v.event, e)
			}
			if a := e.asked; a != nil && a.rival != nil {
				if rival := byNonce[a.rival.nonce]; rival != nil && rival.evidence == "" && v.attempt <= rival.attempt {
					wrong.add("order: %s won over the earlier %s", e, rival)
				}
			}
		}
	}
	for key, list := range byActivity {
		s.judgeActivity(key, list, activities[key], wrong, outcomes)
	}
}

// endOf is the request that ended an activity, nil if none did.
func endOf(v *seen, byIdentity identities, byNonce map[int64]*entry) *entry {
	switch {
	case v == nil:
		return nil
	case v.canceled:
		return byNonce[v.nonce]
	}
	return byIdentity.of(v.closedBy)
}

// overtaken tells whether a request by ids may have met the next activity of these ids. They mean the one that is there
// when the request arrives; between databases, and between roles, there is no order, so a request of another one may have
// ended before what this one was made for. If it has itself ended that one, it was carried out twice.
func overtaken(e, winner *entry) bool {
	return e.verb%2 == 0 && winner != nil && winner != e && e.asked != nil && winner.asked != nil && e.asked.item.loops() &&
		(winner.asked.database != e.asked.database || winner.asked.role != e.asked.role)
}

func (s *storm) judgeActivity(key string, list []*entry, v *seen, wrong *findings, outcomes *tally) {
	verbs := []string{"complete", "fail", "report_cancellation", "heartbeat"}
	verdicts := 0
	for _, e := range list {
		name := e.state + ": " + verbs[(e.verb-1)/2]
		if e.verb%2 == 0 {
			name += "_by_id"
		}
		switch {
		case e.isAwaited():
			name += "_by_key, awaited"
		case e.isKeyed():
			name += "_by_key"
		}
		if e.state != "delivered" {
			name += ", " + e.code + " " + reason(e.message)
		}
		outcomes.add(name, 1)
		if e.isHeartbeat() {
			continue
		}
		verdicts++
		if v == nil {
			wrong.add("Temporal does not know the activity: %s", e)
			continue
		}
		ours := e.evidence != ""
		// A failure that was tried again is only known for the last attempt; that there was another one has to do.
		movedOn := (e.verb+1)/2 == 2 && v.attempt > e.attempt
		switch {
		case e.state == "delivered" && !ours && !movedOn:
			wrong.add("delivered, and not in Temporal: %s; %+v", e, v)
		case e.state == "delivered" && !ours:
			outcomes.add("delivered failures whose traces a later one has overwritten", 1)
		case e.state == "rejected" && ours:
			wrong.add("rejected, and it was ours: %s; %+v", e, v)
		case e.state == "rejected" && v.pending && v.attempt <= e.attempt:
			wrong.add("rejected, and nobody else ended it: %s; %+v", e, v)
		case e.state == "unconfirmed":
			retryable := e.asked == nil || e.asked.retryable
			undecidable := v.canceled && (e.verb+1)/2 == 3 || (e.verb+1)/2 == 2 && retryable && v.attempt > e.attempt+1
			if !undecidable {
				wrong.add("unconfirmed, and could have been decided: %s; %+v", e, v)
			}
		}
	}
	if verdicts > 0 && v != nil && v.pending && v.attempt <= slices.MinFunc(list, func(a, b *entry) int { return int(a.attempt - b.attempt) }).attempt {
		wrong.add("asked for, and yet it has no end: %s", key)
	}
	// One attempt ends once; a key means the activity, whichever attempt it is on
	by := map[int32]int{}
	for _, e := range list {
		if e.state == "delivered" && !e.isHeartbeat() && e.verb%2 == 1 && (!e.isKeyed() || e.verb == fail) {
			by[e.attempt]++
		}
	}
	for attempt, n := range by {
		if n > 1 {
			wrong.add("%d requests were delivered that ended attempt %d of %s", n, attempt, key)
		}
	}
}

var particulars = regexp.MustCompile(`postgresql:.*|ActivityID \S+?\b|ID: \S+`)

// reason is a message without what is different in each.
func reason(message string) string { return particulars.ReplaceAllString(message, "...") }

// accountStub compares what arrived at the stub with what was committed.
func (s *storm) accountStub(ctx context.Context, wrong *findings, outcomes *tally) {
	for _, text := range s.stub.strange {
		wrong.add("the stub got %s", text)
	}
	inLedger := map[int64]bool{}
	for _, database := range databases {
		arrived := s.stub.arrivals[database]
		if arrived == nil {
			arrived = &arrivals{}
		}
		known := make([]bool, len(arrived.count))
		err := s.with(ctx, database, func(c *pgx.Conn) error {
			rows, err := c.Query(ctx, `
WITH outcome AS (
    SELECT id, CASE WHEN confirmed THEN 'delivered' WHEN confirmed IS NULL THEN 'superseded' ELSE 'unconfirmed' END AS state FROM temporal_internal.delivery
    UNION ALL
    SELECT id, CASE WHEN confirmed THEN 'delivered' ELSE 'superseded' END FROM temporal_internal.last_heartbeat
    UNION ALL
    SELECT id, CASE WHEN maybe_sent THEN 'unconfirmed' ELSE 'rejected' END FROM temporal_internal.rejected
)
SELECT nonce, request_id, xid::text::bigint, coalesce(min(state), ''), count(o.id)
  FROM stub_ledger LEFT JOIN outcome o ON o.id = request_id
 GROUP BY nonce, request_id, xid`)
			if err != nil {
				return err
			}
			var nonce, id, n int64
			var xid uint64
			var state string
			_, err = pgx.ForEachRow(rows, []any{&nonce, &id, &xid, &state, &n}, func() error {
				inLedger[nonce] = true
				what := fmt.Sprintf("%s, request %d, transaction %d, nonce %d", database, id, xid, nonce)
				switch {
				case n != 1:
					wrong.add("stub: %d outcomes: %s", n, what)
				case state != "delivered":
					wrong.add("stub: %s: %s", state, what)
				}
				if id >= int64(len(known)) || arrived.count[id] == 0 || arrived.xids[id] != xid {
					wrong.add("stub: never arrived: %s", what)
					return nil
				}
				if !arrived.taken[id] {
					wrong.add("stub: never taken: %s", what)
				}
				known[id] = true
				outcomes.add("stub: "+state, 1)
				if arrived.count[id] > 1 {
					outcomes.add("stub: arrived more than once", 1)
				}
				return nil
			})
			if err != nil {
				return err
			}
			// whatever was made is in a ledger
			n, err = s.number(ctx, database, `SELECT count(*) FROM (SELECT id FROM temporal_internal.delivery
				UNION ALL SELECT id FROM temporal_internal.last_heartbeat UNION ALL SELECT id FROM temporal_internal.rejected EXCEPT (SELECT request_id FROM ledger UNION ALL SELECT request_id FROM stub_ledger)) AS x`)
			if err == nil && n > 0 {
				wrong.add("%s: %d outcomes of requests that were never committed", database, n)
			}
			return err
		})
		if err != nil {
			wrong.add("%s: %v", database, err)
		}
		for id, n := range arrived.count {
			if n > 0 && !known[id] {
				wrong.add("stub: sent without commit: %s, request %d, transaction %d", database, id, arrived.xids[id])
			}
		}
	}
	for _, b := range s.batches {
		for nonce := b.first; nonce < b.first+b.n; nonce++ {
			if b.fate == rolledBack && inLedger[nonce] {
				wrong.add("stub: rolled back, and in the ledger: nonce %d", nonce)
			}
			if b.fate == committed && !b.lazy && !inLedger[nonce] {
				wrong.add("stub: committed, and not in the ledger: nonce %d: PostgreSQL lost it", nonce)
			}
			if b.fate == committed && b.lazy && !inLedger[nonce] {
				outcomes.add("stub: committed with synchronous_commit = off, undone by a crash", 1)
			}
		}
	}
}
