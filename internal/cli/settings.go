package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// settingsFlags say as whom, where and with what variables commands run.
type settingsFlags struct {
	env, files, secrets []string
	workDir, user       string
	grace               duration
}

// add adds the flags of a task's commands.
func (s *settingsFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&s.env, "env", "e", nil,
		"variable of the command's, as `NAME=VALUE`, or NAME for our own (repeatable)")
	flags.StringArrayVar(&s.files, "env-file", nil, "`FILE` of such lines; # begins a comment (repeatable)")
	flags.StringVarP(&s.workDir, "workdir", "w", "",
		"working `DIRECTORY` in the guest, below /workspace if it is relative")
	flags.StringVarP(&s.user, "user", "u", "",
		"`USER[:GROUP]` who runs the command in the guest, by name or number")
}

// addCommand adds the flags of one command.
func (s *settingsFlags) addCommand(cmd *cobra.Command) {
	s.add(cmd)
	s.grace = duration{pyro.DefaultGraceSeconds, 0}
	cmd.Flags().Var(&s.grace, "grace-seconds",
		"seconds after SIGTERM (or SIGINT, for Ctrl-C) until the command and all that it started is killed")
	addSecrets(cmd, &s.secrets)
}

// addSecrets adds the flag for secrets, which [secretsOf] reads.
func addSecrets(cmd *cobra.Command, to *[]string) {
	cmd.Flags().StringArrayVar(to, "secret", nil,
		"variable whose value is never written down, and masked in what is kept: `NAME[=FILE]`, "+
			"our own or a file's content (repeatable)")
}

// settings are what the flags say.
func (s *settingsFlags) settings() (pyro.CommandSettings, error) {
	out := pyro.CommandSettings{WorkDir: s.workDir, User: s.user}
	for _, name := range s.files {
		lines, err := envFile(name)
		if err != nil {
			return out, err
		}
		for _, line := range lines {
			out.Env = withVariable(out.Env, line)
		}
	}
	for _, each := range s.env {
		if each == "" || each[0] == '=' {
			return out, usagef("--env %q names no variable", each)
		}
		out.Env = withVariable(out.Env, each)
	}
	return out, nil
}

// apply puts what the flags say into a command.
func (s *settingsFlags) apply(line *pyro.CommandLine) (err error) {
	if line.CommandSettings, err = s.settings(); err != nil {
		return err
	}
	line.GraceSeconds = &s.grace.value
	line.Secrets, err = secretsOf(s.secrets)
	return err
}

// secretsOf reads secrets where the flags say that they are. It is nil if there are none.
func secretsOf(flags []string) (secrets map[string]string, err error) {
	for _, each := range flags {
		name, file, fromFile := strings.Cut(each, "=")
		value, ok := os.LookupEnv(name)
		if fromFile {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("cannot read the secret %q: %w", name, err)
			}
			value, ok = strings.TrimSuffix(string(data), "\n"), true
		}
		if !ok || name == "" {
			return nil, usagef("--secret %s: there is no such variable", name)
		}
		if secrets == nil {
			secrets = map[string]string{}
		}
		secrets[name] = value
	}
	return secrets, nil
}

// withVariable adds NAME=VALUE, or our own variable NAME, if there is one.
func withVariable(env map[string]string, each string) map[string]string {
	name, value, given := strings.Cut(each, "=")
	if !given {
		if value, given = os.LookupEnv(name); !given {
			return env
		}
	}
	if env == nil {
		env = map[string]string{}
	}
	env[name] = value
	return env
}

// envFile reads a file with a variable a line, as docker's --env-file has it.
func envFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the variables: %w", err)
	}
	defer f.Close()
	var lines []string
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := strings.TrimLeft(scan.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '=' {
			return nil, usagef("%s: %.40q names no variable", name, line)
		}
		lines = append(lines, line)
	}
	return lines, scan.Err()
}
