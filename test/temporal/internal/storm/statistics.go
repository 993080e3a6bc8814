package storm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// What the statistics count of a server since PostgreSQL was started last, beside what became of requests since then. A
// crash forgets what was counted, and stats_reset says so: what ended before is not compared, nor what another primary
// sent. Of heartbeats that are not kept nobody can tell whether they were delivered or superseded.
const differences = `
	WITH begun AS (SELECT max(stats_reset) AS at FROM temporal.stat_server),
	counted AS (
	    SELECT server, sum(delivered + superseded - heartbeats_not_kept) AS good, sum(rejected) AS rejected,
	           sum(unconfirmed) AS unconfirmed, sum(requests - heartbeats) AS verdicts, sum(backlog) AS backlog, sum(in_flight) AS in_flight
	      FROM temporal.stat_server GROUP BY server),
	known AS (
	    SELECT server, count(*) FILTER (WHERE state IN ('delivered', 'superseded')) AS good,
	           count(*) FILTER (WHERE state = 'rejected') AS rejected, count(*) FILTER (WHERE state = 'unconfirmed') AS unconfirmed,
	           count(*) FILTER (WHERE verb <> 'heartbeat') AS verdicts, 0 AS backlog, 0 AS in_flight
	      FROM temporal.request WHERE finished_at >= (SELECT GREATEST(at, $1) FROM begun) GROUP BY server)
	SELECT format('%s: %s: the statistics are %s, the requests %s', current_database(), server,
	              COALESCE(c::text, 'none'), COALESCE(k::text, 'none'))
	  FROM counted c FULL JOIN known k USING (server)
	 WHERE (COALESCE(c.good, 0), COALESCE(c.rejected, 0), COALESCE(c.unconfirmed, 0), COALESCE(c.verdicts, 0),
	        COALESCE(c.backlog, 0), COALESCE(c.in_flight, 0))
	    <> (COALESCE(k.good, 0), COALESCE(k.rejected, 0), COALESCE(k.unconfirmed, 0), COALESCE(k.verdicts, 0), 0, 0)`

// accountStatistics compares the statistics with the requests, to the request.
func (s *storm) accountStatistics(ctx context.Context, wrong *findings, outcomes *tally) {
	for _, database := range databases {
		// they are published a moment after the outcomes
		err := s.await(ctx, 10*time.Second, "statistics", func() error {
			return s.with(ctx, database, func(c *pgx.Conn) error {
				rows, err := c.Query(ctx, differences, s.promoted)
				if err != nil {
					return err
				}
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err == nil && len(lines) > 0 {
					err = fmt.Errorf("%s", strings.Join(lines, "\n"))
				}
				return err
			})
		})
		if err != nil {
			wrong.add("%v", err)
			continue
		}
		n, err := s.number(ctx, database, "SELECT COALESCE(sum(requests + superseded), 0)::bigint FROM temporal.stat_server")
		if err != nil {
			wrong.add("%v", err)
		}
		outcomes.add("requests that the statistics counted", n)
	}
}
