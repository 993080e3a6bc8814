// Command temporal-server is "temporal-test server" alone: all that another release of Temporal's server is built into.
// What else tests need is of the release of the SDK that temporal-test has.
//
//	go build -modfile=servers/1.29.mod -ldflags="-s -w" ./cmd/temporal-server
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"temporal_complete/test/temporal/internal/serve"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "temporal-server:", err)
		}
		os.Exit(1)
	}
}

// run takes the same arguments as temporal-test.
func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 || arguments[0] != "server" {
		fmt.Fprintln(os.Stderr, "usage: temporal-server server [flags]")
		return flag.ErrHelp
	}
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	serve := serve.Command(flags)
	if err := flags.Parse(arguments[1:]); err != nil {
		return flag.ErrHelp
	}
	return serve(ctx, flags.Args())
}
