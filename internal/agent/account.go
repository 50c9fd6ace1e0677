package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pyro-mcp/pyro/internal/process"
)

// account is who runs commands.
type account struct {
	name, home, shell string
	uid, gid          uint32
	groups            []uint32
}

// maxTable bounds what is read of a guest's passwd and group.
const maxTable = 16 << 20

// lookUp finds a user as docker's --user names one: name or number, either with :group. Empty is root.
func lookUp(spec string) (account, error) {
	passwd, err := readTable("/etc/passwd")
	if err != nil {
		return account{}, err
	}
	groups, err := readTable("/etc/group")
	if err != nil {
		return account{}, err
	}
	return find(spec, passwd, groups)
}

func find(spec string, passwd, groups [][]string) (account, error) {
	user, group, hasGroup := strings.Cut(spec, ":")
	if user == "" {
		user = "0"
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
		if len(g) < 4 || a.name == "" || !slices.Contains(strings.Split(g[3], ","), a.name) {
			continue
		}
		if id, ok := parseID(g[2]); ok {
			a.groups = append(a.groups, id)
		}
	}
	return a, nil
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
			return account{
				name:  p[0],
				uid:   uid,
				gid:   gid,
				home:  p[5],
				shell: p[6],
			}, nil
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

// readTable reads a file of lines with colons. A guest need not have one; what is no file is none.
func readTable(path string) ([][]string, error) {
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTable+1))
	if err == nil && len(b) > maxTable {
		err = errors.New("it is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the guest's %q: %w", path, err)
	}
	return parseTable(string(b)), nil
}

func parseTable(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' {
			rows = append(rows, strings.Split(line, ":"))
		}
	}
	return rows
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

// credential is what a process of this user starts with. Who is not root has no choice.
func (a account) credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}
