// Command temporal-test is Temporal for tests: the real server, workers of the real SDK, and what a test wants to
// ask of them. It is one program because linking the server takes long.
//
//	go build -ldflags="-s -w" ./cmd/temporal-test
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/serve"
)

// command is a subcommand. It exits with 0 when run returns nil, with 1 otherwise.
type command struct {
	name      string
	arguments string
	summary   string
	// setUp declares the flags and returns what is to run once they are parsed.
	setUp func(flags *flag.FlagSet) func(ctx context.Context, arguments []string) error
}

var commands = []command{
	{"server", "", "run a Temporal server until SIGTERM", serve.Command},
	{"worker", "", "run workflows and activities until SIGTERM", workerCommand},
	{"start-workflows", "", "start workflows whose activities wait", startWorkflowsCommand},
	{"start-activities", "", "start standalone activities that wait", startActivitiesCommand},
	{"start-order", "ORDER", "start the workflow OrderApproval for a row of the table orders", startOrderCommand},
	{"await-results", "[WORKFLOW_ID...]", "wait for workflows and print their results", awaitResultsCommand},
	{"await-activities", "[ACTIVITY_ID...]", "wait for standalone activities and print their outcomes", awaitActivitiesCommand},
	{"history", "[WORKFLOW_ID...]", "print how activities were closed, and by whom", historyCommand},
	{"describe", "WORKFLOW_ID", "print the state of a workflow", describeCommand},
	{"cancel", "WORKFLOW_ID", "ask a workflow to cancel", cancelCommand},
	{"count-pending", "[WORKFLOW_ID...]", "count activities that are not closed", countPendingCommand},
	{"complete-directly", "", "complete activities with the SDK alone and print how fast", completeDirectlyCommand},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "temporal-test:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) > 0 {
		if i := slices.IndexFunc(commands, func(c command) bool { return c.name == arguments[0] }); i >= 0 {
			c := commands[i]
			flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
			flags.Usage = func() {
				fmt.Fprintf(flags.Output(), "usage: temporal-test %s [flags] %s\n%s\n", c.name, c.arguments, c.summary)
				flags.PrintDefaults()
			}
			run := c.setUp(flags)
			if err := flags.Parse(arguments[1:]); err != nil {
				return flag.ErrHelp
			}
			return run(ctx, flags.Args())
		}
	}
	fmt.Fprintln(os.Stderr, "usage: temporal-test COMMAND [flags] [arguments]; COMMAND -help lists its flags")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-18s %s\n", c.name, c.summary)
	}
	return flag.ErrHelp
}

// connectFlags declares how to reach the frontend.
func connectFlags(flags *flag.FlagSet) *connect.Options {
	o := &connect.Options{Identity: "temporal-test"}
	flags.StringVar(&o.Address, "address", "127.0.0.1:7233", "`host:port` of the frontend")
	flags.StringVar(&o.Namespace, "namespace", "default", "namespace")
	flags.StringVar(&o.CAFile, "tls-ca", "", "`file` with the authorities of the server's certificate; switches TLS on")
	flags.StringVar(&o.CertFile, "tls-cert", "", "`file` with the client certificate; switches TLS on")
	flags.StringVar(&o.KeyFile, "tls-key", "", "`file` with the key of the client certificate")
	flags.StringVar(&o.TLSServerName, "tls-server-name", "", "`name` in the server's certificate, if it is not the address")
	flags.StringVar(&o.APIKey, "api-key", "", "API key")
	return o
}

// withClient runs do with a connection to the frontend.
func withClient(ctx context.Context, o *connect.Options, do func(client.Client) error) error {
	c, err := connect.Dial(ctx, *o)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", o.Address, err)
	}
	defer c.Close()
	return do(c)
}

// printJSON writes one JSON value on a line of its own.
func printJSON(v any) error {
	return json.NewEncoder(os.Stdout).Encode(v)
}
