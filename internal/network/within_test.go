package network

import (
	"strings"
	"testing"
)

func TestWithin(t *testing.T) {
	for _, row := range []struct {
		allow, rule string
		want        bool
	}{
		{"", "example.org", true},
		{"", "example.org:5432/tcp", true},
		{"", "93.184.216.34", true},
		{"", "93.184.0.0/16", true},
		{"", "0.0.0.0/0", true}, // is the public internet
		{"", "10.0.0.1", false},
		{"", "169.254.169.254:80", false},
		{"", "127.0.0.1:5432", false},
		{"", "10.0.0.0/8", false},
		{"example.org", "example.org", true},
		{"example.org", "EXAMPLE.org.:443", true},
		{"example.org:443", "example.org:443", true},
		{"example.org:443", "example.org", false},
		{"example.org:443", "example.org:80", false},
		{"example.org", "www.example.org", false},
		{"example.org", "*.example.org", false},
		{"example.org", "example.org:22/tcp", false},
		{"example.org:22/tcp", "example.org:22/tcp", true},
		{"example.org:22/tcp", "example.org:22", true},
		{"example.org:53/udp", "example.org:53", false},
		{"*.example.org", "www.example.org", true},
		{"*.example.org", "*.example.org", true},
		{"*.example.org", "*.sub.example.org:443", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", "*.org", false},
		{"*.example.org", "evilexample.org", false},
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "10.1.0.0/16:443", true},
		{"10.0.0.0/8", "0.0.0.0/0", false},
		{"0.0.0.0/0", "10.1.2.3", false},
		{"0.0.0.0/0", "93.184.216.34", true},
		{"10.0.0.0/8:53/udp", "10.1.2.3:53", false},
		{"10.0.0.0/8:53/udp", "10.1.2.3:53/udp", true},
		{"127.0.0.0/8", "127.0.0.1:5432", false}, // this host, by its very address alone
		{"127.0.0.1", "127.0.0.1:5432", true},
		{"example.org", "93.184.216.34", false},
		{"93.184.216.34", "example.org", false},
		{"a.example b.example", "b.example", true},
	} {
		got, err := Within(strings.Fields(row.allow), row.rule)
		if err != nil || got != row.want {
			t.Errorf("%q within %q: %v, %v", row.rule, row.allow, got, err)
		}
	}
	if _, err := Within(nil, "exa mple"); err == nil {
		t.Error("a rule that cannot be read")
	}
	if _, err := Within([]string{"exa mple"}, "example.org"); err == nil {
		t.Error("a list that cannot be read")
	}
}
