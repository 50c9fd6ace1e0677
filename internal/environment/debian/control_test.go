package debian

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParagraphs(t *testing.T) {
	data := []byte("\nPackage: a\nDescription: one\n two\n .\n\tthree\n# a comment\nDepends:b,\n" +
		" c\n\n\nPackage: d\n")
	first, rest := cutParagraph(data)
	p, err := parseParagraph(first)
	if err != nil {
		t.Fatal(err)
	}
	want := paragraph{{"Package", "a"}, {"Description", "one\n two\n .\n\tthree"}, {"Depends", "b,\n c"}}
	if len(p) != len(want) {
		t.Fatalf("got %q", p)
	}
	for i := range want {
		if p[i] != want[i] {
			t.Errorf("field %d is %q, want %q", i, p[i], want[i])
		}
	}
	if p.get("depends") != "b,\n c" || p.get("Nothing") != "" {
		t.Error("fields are not found by name")
	}
	second, rest := cutParagraph(rest)
	if string(second) != "Package: d\n" || len(rest) != 0 {
		t.Errorf("the second paragraph is %q, the rest %q", second, rest)
	}
	for _, bad := range []string{" continuation: first\n", "no colon\n", "A: 1\na: 2\n", "A B: 1\n", ": 1\n",
		strings.Repeat("x", maxParagraph+1)} {
		if _, err := parseParagraph([]byte(bad)); err == nil {
			t.Errorf("%.40q was read", bad)
		}
	}
}

func TestRelations(t *testing.T) {
	got, err := parseRelations("libc6 (>= 2.34), a | b:any (<< 1:2~) |c(=1),, d (< 3),")
	if err != nil {
		t.Fatal(err)
	}
	want := []clause{
		{{"libc6", "", ">=", "2.34"}}, {{"a", "", "", ""}, {"b", "any", "<<", "1:2~"}, {"c", "", "=", "1"}},
		{{"d", "", "<=", "3"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(relation{})); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"a (>= )", "a (1)", "a (>= 1", "(>= 1)", "a (>= 1) b", "a/b", "a | ",
		"a [amd64]", "a (~ 1)", "../a"} {
		if got, err := parseRelations(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func FuzzParagraph(f *testing.F) {
	f.Add([]byte("Package: a\nDepends: b (>= 1), c | d\n more\n\nPackage: e\n"))
	f.Add([]byte("# x\nA:\n b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, _ := cutParagraph(data)
		p, err := parseParagraph(first)
		if err != nil {
			return
		}
		var again bytes.Buffer
		for _, f := range p {
			again.WriteString(f.name + ": " + f.value + "\n")
		}
		q, err := parseParagraph(again.Bytes())
		if err != nil || len(q) != len(p) {
			t.Errorf("written again, %q reads as %q, error %v", p, q, err)
		}
		clauses, err := parseRelations(p.get("Depends"))
		if err != nil {
			return
		}
		var parts []string
		for _, c := range clauses {
			parts = append(parts, c.String())
		}
		if second, err := parseRelations(strings.Join(parts, ", ")); err != nil ||
			!cmp.Equal(second, clauses, cmp.AllowUnexported(relation{})) {
			t.Errorf("written again, %v reads as %v, error %v", clauses, second, err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\nArchitecture: amd64\nDepends: b | c (>= 1), v\n" +
		"Conflicts: d\nFilename: pool/a\nSize: 1\nSHA256: " +
		digestOf(nil) + "\n\nPackage: c\nVersion: 2\nArchitecture: all\nProvides: v (= 1)\n" +
		"Filename: pool/c\nSize: 1\nSHA256: " + digestOf(nil) + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		u := newUniverse("amd64")
		if u.add(data, "http://example.org") != nil {
			return
		}
		for name := range u.raw {
			set, err := u.solve([]string{name})
			if err == nil && len(set) == 0 {
				t.Errorf("%q was resolved to nothing", name)
			}
		}
	})
}

func FuzzDeb(f *testing.F) {
	f.Add(ar(map[string][]byte{"debian-binary": []byte("2.0\n"), "control.tar.gz": {0x1f, 0x8b},
		"data.tar.gz": nil}))
	f.Add([]byte(arMagic))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = openDeb(bytes.NewReader(data), int64(len(data)))
	})
}

func TestUnsigned(t *testing.T) {
	const marker = "~Module signature appended~\n"
	for name, signed := range map[string]string{
		"code":  "code" + "signature" + "\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x09" + marker,
		"plain": "plain",
		"\x00\x00\x02\x00\x00\x00\x00\x00\x7f\x00\x00\x09" +
			marker: "\x00\x00\x02\x00\x00\x00\x00\x00\x7f\x00\x00\x09" + marker,
		marker: marker,
	} {
		if got := unsigned([]byte(signed)); string(got) != name {
			t.Errorf("%q without its signature is %q, not %q", signed, got, name)
		}
	}
}

func FuzzModule(f *testing.F) {
	f.Add([]byte(module("depends=a,b", "softdep=pre: c d post: e")))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = moduleDepends(data)
		if bare := unsigned(data); !bytes.HasPrefix(data, bare) {
			t.Errorf("a module without its signature is no part of it")
		}
	})
}

func FuzzSources(f *testing.F) {
	f.Add([]byte("Types: deb\nURIs: http://a.example/debian\nSuites: x\nComponents: main\n"))
	f.Add([]byte("deb [arch=amd64] http://a.example/debian bookworm main contrib\n" +
		"deb-src http://b.example/debian x main\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range append(parseSources(data), parseList(string(data))...) {
			if !strings.HasPrefix(s.uri, "http") {
				t.Errorf("the source %q is not of the web", s.uri)
			}
		}
	})
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nCodename: x\n" +
		"-----BEGIN PGP SIGNATURE-----\n\nxx\n=aaaa\n-----END PGP SIGNATURE-----\n"))
	keys, err := debianKeys()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := verifyRelease(data, "x", keys, now()); err == nil {
			t.Error("something was trusted")
		}
		_, _ = parseFiles(string(data))
	})
}
