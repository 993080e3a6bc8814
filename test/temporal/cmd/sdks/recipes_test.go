package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "../../../.."

func slurp(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unindented takes away the depth that the first line has.
func unindented(code string) string {
	lines := strings.Split(strings.Trim(code, "\n"), "\n")
	depth := lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], " \t"))]
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, depth)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// TestWorkersRecipe checks that doc/recipes/workers.md shows the code that the workers run.
func TestWorkersRecipe(t *testing.T) {
	recipe := slurp(t, "doc/recipes/workers.md")
	for language, path := range map[string]string{
		"go":     "test/temporal/cmd/sdks/goworker.go",
		"python": "test/sdks/python/worker.py",
		"ts":     "test/sdks/typescript/src/activities.ts",
		"java":   "test/sdks/java/src/main/java/Activities.java",
	} {
		code := regexp.MustCompile(`(?m)^.* for the test\n`).ReplaceAllString(slurp(t, path), "")
		parts := regexp.MustCompile(`(?m)^\s*(//|#) recipe: \w+\n`).Split(code, -1)
		if len(parts) != 4 {
			t.Errorf("%s has %d parts", path, len(parts))
			continue
		}
		for _, part := range parts[1:3] {
			if block := "```" + language + "\n" + unindented(part) + "\n```"; !strings.Contains(recipe, block) {
				t.Errorf("workers.md lacks\n%s", block)
			}
		}
	}
}

// TestResultsRecipe checks that the table of doc/recipes/results.md says of each result whether it is read, an error, or
// has the workflow stuck, as the tests of the SDKs expect it.
func TestResultsRecipe(t *testing.T) {
	table := map[string][]string{}
	for _, line := range strings.Split(slurp(t, "doc/recipes/results.md"), "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 7 {
			table[strings.TrimSpace(cells[1])] = cells[2:6]
		}
	}
	for _, r := range readings {
		cells, ok := table[r.name]
		if !ok {
			t.Errorf("there is no row %q", r.name)
			continue
		}
		for i, sdk := range []string{"go", "python", "typescript", "java"} {
			want, known := r.want[sdk]
			cell := strings.TrimSpace(cells[i])
			got := ""
			for _, how := range []string{stuck, failed} {
				if strings.Contains(cell, "**"+how+"**") {
					got = how
				}
			}
			if want != stuck && want != failed {
				want = ""
			}
			if known != (cell != "") || got != want {
				t.Errorf("%s, %s: %q, and the test expects %q", r.name, sdk, cell, r.want[sdk])
			}
		}
	}
	if len(table) != len(readings)+2 {
		t.Errorf("the table has %d rows for %d readings", len(table)-2, len(readings))
	}
}
