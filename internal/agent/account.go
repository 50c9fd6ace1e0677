package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro/internal/process"
)

// account is who runs commands.
type account struct {
	name, home, shell string
	uid, gid          uint32
	groups            []uint32
}

// maxAccounts bounds the lines read of a guest's passwd and group.
const maxAccounts = 100_000

// lookUp finds a user as docker's --user names one: name or number, either with :group. Empty is root.
func lookUp(spec string) (account, error) {
	user, group, hasGroup := strings.Cut(spec, ":")
	if user == "" {
		user = "0"
	}
	passwd, err := readTable("/etc/passwd")
	if err != nil {
		return account{}, err
	}
	groups, err := readTable("/etc/group")
	if err != nil {
		return account{}, err
	}
	a, err := findUser(user, passwd)
	if err != nil {
		return account{}, err
	}
	if hasGroup {
		if a.gid, err = findGroup(group, groups); err != nil {
			return account{}, err
		}
	}
	for _, g := range groups {
		if len(g) >= 4 && a.name != "" && contains(g[3], a.name) {
			if id, err := strconv.ParseUint(g[2], 10, 32); err == nil {
				a.groups = append(a.groups, uint32(id))
			}
		}
	}
	return a, nil
}

func contains(list, name string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if part == name {
			return true
		}
	}
	return false
}

func findUser(user string, passwd [][]string) (account, error) {
	id, numeric := parseID(user)
	for _, p := range passwd {
		if len(p) < 7 || (p[0] != user && !(numeric && p[2] == user)) {
			continue
		}
		uid, ok1 := parseID(p[2])
		gid, ok2 := parseID(p[3])
		if ok1 && ok2 {
			return account{name: p[0], uid: uid, gid: gid, home: p[5], shell: p[6]}, nil
		}
	}
	if !numeric {
		return account{}, fmt.Errorf("the guest has no user %q", user)
	}
	a := account{uid: id, home: "/"}
	if id == 0 {
		a.name, a.home = "root", "/root"
	}
	return a, nil
}

func findGroup(group string, groups [][]string) (uint32, error) {
	for _, g := range groups {
		if len(g) >= 3 && g[0] == group {
			if id, ok := parseID(g[2]); ok {
				return id, nil
			}
		}
	}
	if id, ok := parseID(group); ok {
		return id, nil
	}
	return 0, fmt.Errorf("the guest has no group %q", group)
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// readTable reads a file of lines with colons. A guest need not have one.
func readTable(path string) ([][]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTable(f)
}

func parseTable(r io.Reader) ([][]string, error) {
	var rows [][]string
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(rows) < maxAccounts {
		line := strings.TrimSpace(lines.Text())
		if line != "" && line[0] != '#' {
			rows = append(rows, strings.Split(line, ":"))
		}
	}
	return rows, lines.Err()
}

// environ is what a login would set, then what the environment's image says, then the command's own.
func (a account) environ(more ...[]string) []string {
	path := "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
	if a.uid == 0 {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	shell := a.shell
	if shell == "" {
		shell = "/bin/sh"
	}
	vars := []string{"PATH=" + path, "HOME=" + a.home, "LANG=C.UTF-8", "SHELL=" + shell, "TERM=dumb"}
	if a.name != "" {
		vars = append(vars, "USER="+a.name, "LOGNAME="+a.name)
	}
	return process.Environment(append([][]string{vars}, more...)...)
}
