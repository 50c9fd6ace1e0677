package e2b

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
)

// entry is a file, directory or link.
type entry struct {
	Name          string    `json:"name"`
	Type          string    `json:"type"`
	Path          string    `json:"path"`
	Size          string    `json:"size"` // of 64 bits, which JSON's numbers are not
	Mode          int64     `json:"mode"`
	Permissions   string    `json:"permissions"`
	Owner         string    `json:"owner"`
	Group         string    `json:"group"`
	ModifiedTime  time.Time `json:"modifiedTime"`
	SymlinkTarget *string   `json:"symlinkTarget,omitempty"`
	IsSymlink     bool      `json:"isSymlink,omitempty"`
}

// findFormat is what find prints of each entry: fields end with NUL, which no path holds.
const (
	findFormat = `%y\0%Y\0%l\0%s\0%m\0%M\0%u\0%g\0%T@\0%p\0`
	findFields = 10
)

// parseEntries reads what find printed. It is a guest's word: what makes no sense is refused.
func parseEntries(text string) ([]entry, error) {
	if text == "" {
		return nil, nil
	}
	fields := strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
	if len(fields)%findFields != 0 {
		return nil, errors.New("the sandbox's list of files makes no sense")
	}
	var entries []entry
	for ; len(fields) > 0; fields = fields[findFields:] {
		e := entry{
			Size:        fields[3],
			Permissions: fields[5],
			Owner:       fields[6],
			Group:       fields[7],
			Path:        fields[9],
			Name:        path.Base(fields[9]),
		}
		kind := fields[0]
		if kind == "l" {
			e.IsSymlink, e.SymlinkTarget, kind = true, &fields[2], fields[1]
		}
		e.Type = "FILE_TYPE_FILE"
		if kind == "d" {
			e.Type = "FILE_TYPE_DIRECTORY"
		}
		seconds, err := strconv.ParseFloat(fields[8], 64)
		if err == nil {
			e.Mode, err = strconv.ParseInt(fields[4], 8, 32)
		}
		if _, sizeErr := strconv.ParseInt(e.Size, 10, 64); err == nil {
			err = sizeErr
		}
		if err != nil {
			return nil, fmt.Errorf("the sandbox's list of files makes no sense: %w", err)
		}
		e.ModifiedTime = time.UnixMicro(int64(seconds * 1e6)).UTC()
		entries = append(entries, e)
	}
	return entries, nil
}

type pathRequest struct {
	Path        string `json:"path"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Depth       int    `json:"depth"`
	Recursive   bool   `json:"recursive"`
}

type entryAnswer struct {
	Entry entry `json:"entry"`
}

// missing says that a path leads to nothing, in the form that the scripts below use.
const missing = `[ -e "$1" ] || [ -L "$1" ] || { echo "path not found: $1" >&2; exit 44; }
`

// script runs a shell script with paths as its arguments.
func (c *calling) script(ctx context.Context, text string, paths ...string) (string, error) {
	return c.server.run(ctx, c.task.TaskID, append([]string{"sh", "-c", text, "sh"}, paths...)...)
}

func (c *calling) stat(ctx context.Context, name string) (entryAnswer, error) {
	out, err := c.script(ctx, missing+`exec find "$1" -maxdepth 0 -printf '`+findFormat+`'`, absolute(name))
	if err != nil {
		return entryAnswer{}, err
	}
	entries, err := parseEntries(out)
	if err == nil && len(entries) != 1 {
		err = errors.New("the sandbox's list of files makes no sense")
	}
	if err != nil {
		return entryAnswer{}, err
	}
	return entryAnswer{entries[0]}, nil
}

func stat(ctx context.Context, c *calling, r pathRequest) (entryAnswer, error) {
	return c.stat(ctx, r.Path)
}

func makeDir(ctx context.Context, c *calling, r pathRequest) (entryAnswer, error) {
	const text = `[ ! -d "$1" ] || { echo "directory already exists: $1" >&2; exit 49; }
[ ! -e "$1" ] || { echo "path already exists but it is not a directory: $1" >&2; exit 40; }
exec mkdir -p -- "$1"`
	if _, err := c.script(ctx, text, absolute(r.Path)); err != nil {
		return entryAnswer{}, err
	}
	return c.stat(ctx, r.Path)
}

func move(ctx context.Context, c *calling, r pathRequest) (entryAnswer, error) {
	const text = missing + `mkdir -p -- "$(dirname -- "$2")" && exec mv -T -- "$1" "$2"`
	if _, err := c.script(ctx, text, absolute(r.Source), absolute(r.Destination)); err != nil {
		return entryAnswer{}, err
	}
	return c.stat(ctx, r.Destination)
}

func removeEntry(ctx context.Context, c *calling, r pathRequest) (none, error) {
	_, err := c.script(ctx, `exec rm -rf -- "$1"`, absolute(r.Path))
	return none{}, err
}

func listDir(ctx context.Context, c *calling, r pathRequest) (map[string]any, error) {
	depth := max(r.Depth, 1)
	const text = missing + `[ -d "$1" ] || { echo "path is not a directory: $1" >&2; exit 40; }
exec find -H "$1" -mindepth 1 -maxdepth "$2" -printf '` + findFormat + `'`
	out, err := c.script(ctx, text, absolute(r.Path), strconv.Itoa(depth))
	if err != nil {
		return nil, err
	}
	entries, err := parseEntries(out)
	if entries == nil {
		entries = []entry{}
	}
	return map[string]any{"entries": entries}, err
}

// download answers with a file's content.
func download(w http.ResponseWriter, r *http.Request, c *calling) {
	name := absolute(r.URL.Query().Get("path"))
	const check = missing + `[ ! -d "$1" ] || { echo "path is a directory: $1" >&2; exit 40; }
exec stat -L -c %s -- "$1"`
	size, err := c.script(r.Context(), check, name)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	filename := map[string]string{"filename": path.Base(name)}
	w.Header().Set("Content-Disposition", mime.FormatMediaType("inline", filename))
	if n := strings.TrimSpace(size); n != "0" { // Files of the kernel's have a content and no size.
		w.Header().Set("Content-Length", n)
	}
	streams := &pyro.Streams{Stdout: w}
	if _, err := c.server.feed(r.Context(), c.task.TaskID, streams, "cat", "--", name); err != nil {
		panic(http.ErrAbortHandler) // The only way to tell a client that what it has is not all.
	}
}

// written is what a client is told of a file that it sent.
type written struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Path string `json:"path"`
}

// upload writes the files of a form, or the body as one file.
func upload(w http.ResponseWriter, r *http.Request, c *calling) {
	files, err := c.upload(r)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, files)
}

func (c *calling) upload(r *http.Request) ([]written, error) {
	named := r.URL.Query().Get("path")
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "multipart/form-data" {
		if named == "" {
			return nil, &statusError{http.StatusBadRequest, "no path is given"}
		}
		file, err := c.writeFile(r.Context(), named, r.Body)
		return []written{file}, err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return nil, &statusError{http.StatusBadRequest, err.Error()}
	}
	files := []written{}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, &statusError{http.StatusBadRequest, err.Error()}
		}
		if part.FormName() != "file" {
			continue
		}
		name := named
		if name == "" {
			// The file's whole path, of which FileName would give the end alone.
			_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
			if name = params["filename"]; err != nil || name == "" {
				return files, &statusError{http.StatusBadRequest, "a file without a name"}
			}
		}
		file, err := c.writeFile(r.Context(), name, part)
		if err != nil {
			return files, err
		}
		files = append(files, file)
	}
}

func (c *calling) writeFile(ctx context.Context, name string, content io.Reader) (written, error) {
	name = absolute(name)
	const text = `[ ! -d "$1" ] || { echo "path is a directory: $1" >&2; exit 40; }
mkdir -p -- "$(dirname -- "$1")" && exec cat >"$1"`
	_, err := c.server.feed(ctx, c.task.TaskID, &pyro.Streams{Stdin: content}, "sh", "-c", text, "sh", name)
	return written{Name: path.Base(name), Type: "file", Path: name}, err
}

// signed checks the signature of a link to a file, which the SDKs make of its path, the operation, the user,
// the access token and the time at which it ends.
func signed(r *http.Request, token string) bool {
	query := r.URL.Query()
	operation := "read"
	if r.Method == http.MethodPost {
		operation = "write"
	}
	text := strings.Join([]string{query.Get("path"), operation, query.Get("username"), token}, ":")
	if until := query.Get("signature_expiration"); until != "" {
		seconds, err := strconv.ParseInt(until, 10, 64)
		if err != nil || time.Now().Unix() > seconds {
			return false
		}
		text += ":" + until
	}
	sum := sha256.Sum256([]byte(text))
	want := "v1_" + base64.RawStdEncoding.EncodeToString(sum[:])
	return hmac.Equal([]byte(query.Get("signature")), []byte(want))
}
