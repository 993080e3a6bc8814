package e2e

import (
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/flows"
)

// TestIDsInPaths checks that ids which mean something in a URL reach Temporal's HTTP API as they are; but
// for those with a slash, which its server cannot take where they are in its paths.
func TestIDsInPaths(t *testing.T) {
	t.Parallel()
	createServer(t, "paths", "address '"+temporal.HTTPAddress+"', transport 'http'")
	for i, odd := range []string{
		"plain", "a b", "50%", "%2F", "a+b", "a?b=c&d", "a#b", "a:b", "a;b,c", "é漢\U0001F600", `"\`, "..", "a/b", "/", "a//b/../c",
	} {
		t.Run(odd, func(t *testing.T) {
			t.Parallel()
			workflowID := fmt.Sprintf("%s %d %s", uniqueID(), i, odd)
			in := flows.PendingInput{Activities: 1, ActivityIDs: []string{odd}}
			options := client.StartWorkflowOptions{ID: workflowID, TaskQueue: flows.TaskQueue}
			if _, err := sdk.ExecuteWorkflow(t.Context(), options, flows.Pending, in); err != nil {
				t.Fatal(err)
			}
			awaitToken(t, workflowID, 1)
			var id int64
			if err := db.QueryRow(t.Context(), `
SELECT temporal.complete_activity_by_id($1, $2, '"done"', server => 'paths')`, workflowID, odd).Scan(&id); err != nil {
				t.Fatal(err)
			}
			want := "delivered"
			if strings.Contains(odd, "/") && !serverIsBefore(t, 31) {
				want = "rejected"
			}
			if r := awaitFinished(t, id); r.State != want {
				t.Fatal(r)
			}
		})
	}
}
