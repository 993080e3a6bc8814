package fault

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/genproto/googleapis/rpc/code"
)

// Handler serves the control API:
//
//	GET    /faults            the rules, with how often each was applied
//	POST   /faults            adds the rule in the body, answers {"id": n}
//	DELETE /faults[?id=n]     switches one rule off, or all
//	GET    /counters          account by method
//	DELETE /counters          forgets all that was counted
//	GET    /identities[?prefix=p]  account by identity and method, one JSON object a line
func (i *Injector) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, i.Rules())
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, req *http.Request) {
		var r Rule
		if err := ReadJSON(req.Body, &r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id, err := i.Add(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, map[string]int64{"id": id})
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, req *http.Request) {
		var id int64
		if s := req.URL.Query().Get("id"); s != "" {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 1 {
				http.Error(w, "id is not a number", http.StatusBadRequest)
				return
			}
			id = n
		}
		i.Clear(id)
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		writeJSON(w, i.methods)
	})
	mux.HandleFunc("DELETE /counters", func(http.ResponseWriter, *http.Request) {
		i.ResetCounters()
	})
	mux.HandleFunc("GET /identities", func(w http.ResponseWriter, req *http.Request) {
		prefix := req.URL.Query().Get("prefix")
		i.mu.Lock()
		defer i.mu.Unlock()
		w.Header().Set("Content-Type", "application/jsonl")
		lines := json.NewEncoder(w)
		for _, id := range i.identities {
			if strings.HasPrefix(id.Identity, prefix) {
				_ = lines.Encode(id)
			}
		}
	})
	return mux
}

// ReadJSON decodes one JSON value and refuses unknown fields, so that a mistyped one is noticed.
func ReadJSON(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func codeName(err error) string {
	return code.Code(serviceerror.ToStatus(err).Code()).String()
}
