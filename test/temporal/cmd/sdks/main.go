// Command sdks has workers of several SDKs wait for activities, finishes these from SQL and by each SDK's own client
// of async completion, and compares what Temporal got and what the workflows were given.
//
//	sdks [-sdks go,python] [-only REGEXP]    run the comparison; test/sdks/README.md says more
//	sdks worker                              the worker of the Go SDK
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		err = serveGo(ctx)
	} else {
		err = compareAll(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdks:", err)
		os.Exit(1)
	}
}

func compareAll(ctx context.Context) error {
	names := flag.String("sdks", "go", "`names` of the SDKs, separated by commas")
	skipped := flag.String("skipped", "", "`names` of SDKs that could not be installed")
	packages := flag.String("packages", "", "`directory` in which test/sdks/install put packages")
	sources := flag.String("sources", "../sdks", "`directory` test/sdks")
	only := flag.String("only", "", "run the cases whose verb and value match this `regexp`")
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.remove()
	all := &account{}
	for _, name := range strings.FieldsFunc(*names, func(r rune) bool { return r == ',' || r == ' ' }) {
		command, err := workerCommand(name, *sources, *packages)
		if err != nil {
			return err
		}
		s, err := w.start(ctx, name, command)
		if err != nil {
			return err
		}
		fmt.Printf("\n== %s, SDK %s\n", name, s.version)
		s.compare(ctx, all, chosen)
		s.decode(ctx, all, chosen)
		if err := s.stop(); err != nil {
			return err
		}
	}
	all.skipped = strings.FieldsFunc(*skipped, func(r rune) bool { return r == ',' || r == ' ' })
	if failed := all.print(); failed > 0 {
		fmt.Fprintf(os.Stderr, "PostgreSQL's log:\n%s", w.cluster.Log())
		os.Exit(1)
	}
	return nil
}
