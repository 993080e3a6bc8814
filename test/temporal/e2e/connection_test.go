package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"temporal_complete/test/temporal/internal/certs"
	"temporal_complete/test/temporal/internal/connect"
	"temporal_complete/test/temporal/internal/flows"
	"temporal_complete/test/temporal/internal/pgtest"
	"temporal_complete/test/temporal/internal/temporaltest"
)

// The name in the certificate of a server whose certificate does not have its address.
const otherName = "temporal.test"

// secured is a Temporal server with a worker that has what it takes to get in.
type secured struct {
	*temporaltest.Server
	client client.Client
}

// startSecured starts a server and a worker, which end with the test. The worker connects as o says.
func startSecured(t *testing.T, o connect.Options, arguments ...string) secured {
	t.Helper()
	s, err := temporaltest.New(program, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	o.Address, o.Namespace = s.Address, "default"
	var c client.Client
	stop, err := runWorker(t.Context(), o, &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return secured{s, c}
}

func exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// createServer creates a foreign server of that name, which goes with the test; options are in SQL.
func createServer(t *testing.T, name, options string) {
	t.Helper()
	exec(t, fmt.Sprintf("CREATE SERVER %s FOREIGN DATA WRAPPER temporal_complete OPTIONS (%s)", name, options))
}

// authorities makes a directory with certificates.
type authorities struct {
	ca, otherCA   *certs.Authority
	server, named certs.Pair // for 127.0.0.1, and for otherName only
	client        certs.Pair
}

func newAuthorities(t *testing.T) authorities {
	t.Helper()
	dir := filepath.Join(cluster.Dir, "certs-"+rand.Text())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var a authorities
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a.ca, err = certs.NewAuthority(dir, "ca")
	check()
	a.otherCA, err = certs.NewAuthority(dir, "other-ca")
	check()
	a.server, err = a.ca.Issue("server", "127.0.0.1", "localhost")
	check()
	a.named, err = a.ca.Issue("named", otherName)
	check()
	a.client, err = a.ca.Issue("client")
	check()
	err = pgtest.Own(a.client.KeyFile)
	check()
	return a
}

func pem(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// obstacle is something wrong with a connection, and what puts it right.
type obstacle struct {
	name string
	to   secured
	// options of the foreign server besides the address, and of the user mapping; without any there is no mapping.
	server, mapping string
	// says is what the view and ping tell the operator.
	says string
	// remedy is a statement, with %s for the name of the foreign server; empty if nothing is wrong.
	remedy string
}

func TestConnections(t *testing.T) {
	t.Parallel()
	a := newAuthorities(t)
	key, wrongKey := "right-"+rand.Text(), "wrong-"+rand.Text()

	trusting := connect.Options{CAFile: a.ca.File}
	plain := startSecured(t, connect.Options{APIKey: key}, "-api-key", key)
	tls := startSecured(t, trusting, "-tls-cert", a.server.CertFile, "-tls-key", a.server.KeyFile)
	named := startSecured(t, connect.Options{CAFile: a.ca.File, TLSServerName: otherName},
		"-tls-cert", a.named.CertFile, "-tls-key", a.named.KeyFile)
	mutual := startSecured(t,
		connect.Options{CAFile: a.ca.File, CertFile: a.client.CertFile, KeyFile: a.client.KeyFile, APIKey: key},
		"-tls-cert", a.server.CertFile, "-tls-key", a.server.KeyFile, "-tls-client-ca", a.ca.File, "-api-key", key)

	path := func(file string) string { return "'" + file + "'" }
	data := func(file string) string { return "'" + pem(t, file) + "'" }
	certificate := "tls_client_cert_path " + path(a.client.CertFile) + ", tls_client_key_path " + path(a.client.KeyFile)
	certificateData := "tls_client_cert_data " + data(a.client.CertFile) + ", tls_client_key_data " + data(a.client.KeyFile)
	plaintext := "allow_plaintext_credentials 'true'"
	trust := "tls_server_ca_cert_path " + path(a.ca.File)

	obstacles := []obstacle{
		{name: "TLS", to: tls, server: trust},
		{name: "TLS by data", to: tls, server: "tls 'true', tls_server_ca_cert_data " + data(a.ca.File)},
		{name: "other name", to: named, server: trust + ", tls_server_name '" + otherName + "'"},
		{name: "no verification of the name", to: named, server: trust + ", tls_disable_host_verification 'true'"},
		{name: "API key", to: plain, server: "tls 'false'", mapping: "api_key '" + key + "', " + plaintext},
		{name: "mTLS and API key", to: mutual, server: trust, mapping: certificate + ", api_key '" + key + "'"},
		{name: "mTLS by data and API key", to: mutual, server: trust, mapping: certificateData + ", api_key '" + key + "'"},
		{
			name: "unknown authority", to: tls, server: "tls_server_ca_cert_path " + path(a.otherCA.File),
			says: `certificate`, remedy: "ALTER SERVER %s OPTIONS (SET tls_server_ca_cert_path " + path(a.ca.File) + ")",
		},
		{
			name: "wrong name", to: named, server: trust,
			says: `host ?name|subject name|does not match|IP address`, remedy: "ALTER SERVER %s OPTIONS (ADD tls_server_name '" + otherName + "')",
		},
		{
			name: "no TLS where it is needed", to: tls, server: "tls 'false'",
			says: `TLS|connection|HTTP/2`, remedy: "ALTER SERVER %s OPTIONS (SET tls 'true', ADD " + trust + ")",
		},
		{
			name: "TLS where there is none", to: plain, server: trust, mapping: "api_key '" + key + "', " + plaintext,
			says: `TLS|SSL`, remedy: "ALTER SERVER %s OPTIONS (ADD tls 'false', DROP tls_server_ca_cert_path)",
		},
		{
			name: "no client certificate", to: mutual, server: trust, mapping: "api_key '" + key + "'",
			says: `certificate`, remedy: "ALTER USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (ADD tls_client_cert_path " +
				path(a.client.CertFile) + ", ADD tls_client_key_path " + path(a.client.KeyFile) + ")",
		},
		{
			name: "wrong API key", to: plain, server: "tls 'false'", mapping: "api_key '" + wrongKey + "', " + plaintext,
			says: `PERMISSION_DENIED|unauthorized`, remedy: "ALTER USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (SET api_key '" + key + "')",
		},
		{
			name: "no API key", to: plain, server: "tls 'false'",
			says: `PERMISSION_DENIED|unauthorized`, remedy: "CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (api_key '" + key + "', " + plaintext + ")",
		},
		{
			name: "nobody listens", to: plain, server: "tls 'false', authority 'x'", mapping: "api_key '" + key + "', " + plaintext,
			says: `(?i)connect|refused`, remedy: "ALTER SERVER %s OPTIONS (SET address '" + plain.Address + "')",
		},
	}
	t.Run("all", func(t *testing.T) {
		for i, o := range obstacles {
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				overcome(t, fmt.Sprintf("connection_%d", i), o)
			})
		}
	})

	log := cluster.Log()
	secrets := []string{key, wrongKey}
	for _, line := range strings.Split(pem(t, a.client.KeyFile), "\n") {
		if line != "" && !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("a secret is in PostgreSQL's log")
		}
	}
}

// overcome meets the obstacle with a request, looks at what an operator is told, puts it right and sees the
// request through.
func overcome(t *testing.T, server string, o obstacle) {
	address := o.to.Address
	if o.name == "nobody listens" {
		address = "127.0.0.1:1"
	}
	createServer(t, server, "address '"+address+"', "+o.server)
	if o.mapping != "" {
		exec(t, fmt.Sprintf("CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (%s)", server, o.mapping))
	}
	w := startActivityAt(t, o.to.client, server, handles[0], flows.ActivityOptions{})
	id, identity := w.request(t, "complete_activity", `result => '"through"'`)

	if o.remedy != "" {
		says := regexp.MustCompile(o.says)
		eventually(t, "the error", func() error {
			r := look(t, id)
			if r.finished() {
				t.Fatal(r)
			}
			if r.State != "retrying" || r.ErrorCode == nil || r.ErrorMessage == nil {
				return fmt.Errorf("%s", r)
			}
			return nil
		})
		r := look(t, id)
		t.Log(r)
		if !says.MatchString(*r.ErrorCode + " " + *r.ErrorMessage) {
			t.Errorf("the view does not say %q: %s", o.says, r)
		}
		if answer := ping(t, server); !says.MatchString(answer) {
			t.Errorf("ping does not say %q: %s", o.says, answer)
		} else {
			t.Log(answer)
		}
		exec(t, fmt.Sprintf(o.remedy, server))
	} else {
		t.Log(ping(t, server))
	}

	awaitDelivered(t, id)
	if result := w.outcome(t).Result; result == nil || string(result.JSON) != `"through"` {
		t.Errorf("result %s", marshal(result))
	}
	checkIdentity(t, w, identity)
	if answer := ping(t, server); !strings.Contains(answer, serverVersion(t)) {
		t.Errorf("ping does not tell the version of the server: %s", answer)
	}
}

// ping returns all that temporal.ping says.
func ping(t *testing.T, server string) string {
	t.Helper()
	rows, err := db.Query(t.Context(), "SELECT to_jsonb(p)::text FROM temporal.ping($1) p", server)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestMetadata checks what Temporal, and proxies before it, get to see besides the request.
func TestMetadata(t *testing.T) {
	t.Parallel()
	s := startSecured(t, connect.Options{})
	createServer(t, "metadata", s.ForeignServer()+", authority 'temporal.example.com', "+
		"grpc_meta_x_tenant 'blue', grpc_meta_temporal_tier 'gold, first'")
	w := startActivityAt(t, s.client, "metadata", handles[0], flows.ActivityOptions{})
	id, _ := w.request(t, "complete_activity", "")
	awaitDelivered(t, id)
	counters, err := s.Counters()
	if err != nil {
		t.Fatal(err)
	}
	got := counters["RespondActivityTaskCompleted"].Metadata
	expected := map[string]string{
		"x-tenant":      "blue",
		"temporal-tier": "gold, first",
		"client-name":   "temporal-complete-postgresql",
	}
	// Of what comes over HTTP, the server tells its services these only.
	if os.Getenv("TRANSPORT") != "http" {
		expected[":authority"] = "temporal.example.com"
		expected["temporal-namespace"] = "default"
	}
	for name, want := range expected {
		if values := got[name]; len(values) != 1 || values[0] != want {
			t.Errorf("%s is %q, not %q", name, values, want)
		}
	}
}

// TestNamespaces checks that the argument of a verb takes the place of the server's option.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	s, err := temporaltest.New(program, "-namespace", "first", "-namespace", "second")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	createServer(t, "namespaces", s.ForeignServer()+", namespace 'first', namespaces 'second'")
	for _, namespace := range []string{"first", "second"} {
		var c client.Client
		stop, err := runWorker(t.Context(), connect.Options{Address: s.Address, Namespace: namespace}, &c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		for _, h := range handles[:2] {
			w := startActivityAt(t, c, "namespaces", h, flows.ActivityOptions{})
			arguments := ""
			if namespace == "second" {
				arguments = "namespace => 'second'"
			}
			id, _ := w.request(t, "complete_activity", arguments)
			if r := awaitDelivered(t, id); r.Namespace != namespace {
				t.Errorf("namespace %s, not %s", r.Namespace, namespace)
			}
			w.outcome(t)
		}
	}
}
