package environment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Server is who is asked for files. The zero value is a mirror of a signed archive.
type Server struct {
	Name string // what errors call it, "mirror" if it is empty
	// What errors call the thing that tells its files' digests, "signed index" if it is empty
	Index string
	// The store's own if it is nil; its errors with a method Final are not worth another attempt
	Client *http.Client
}

// String is what errors call the server.
func (s Server) String() string { return cmp.Or(s.Name, "mirror") }

func (s Server) index() string { return cmp.Or(s.Index, "signed index") }

// remedy is what to do about a server that fails: mirrors can be exchanged, others cannot.
func (s Server) remedy(format string) string {
	if s.Name != "" {
		return "try again later"
	}
	return fmt.Sprintf(format, s)
}

// refused adds to an answer for good what to do about it.
func (s Server) refused(err error) error {
	if s.Name != "" {
		return err
	}
	return fmt.Errorf("%w; try another %s", err, s)
}

// Request asks a server for a small file that is not known beforehand.
type Request struct {
	URL    string
	Server Server
	Header http.Header
	Limit  int64 // of bytes
}

// Answer is such a file.
type Answer struct {
	Data   []byte
	Header http.Header
}

// StatusError is an answer that is no file.
type StatusError struct {
	Server     Server
	Code       int
	Status     string
	RetryAfter time.Duration // what the server asks to wait, 0 if nothing
	Body       []byte        // its beginning
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the %s answers %q", e.Server, e.Status)
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(" and asks to wait for %v", e.RetryAfter)
	}
	return text
}

// maxErrorBody bounds what is kept of an answer that is no file.
const maxErrorBody = 4096

// ask sends one GET and refuses answers that bring no bytes of a file.
func (f fetcher) ask(ctx context.Context, r Request) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, refusal{error: err}
	}
	if r.Header != nil {
		request.Header = r.Header
	}
	client := f.client
	if r.Server.Client != nil {
		client = r.Server.Client
	}
	response, err := client.Do(request)
	var final interface{ Final() }
	if errors.As(err, &final) {
		return nil, refusal{error: err}
	}
	if err != nil {
		return nil, unreached{err}
	}
	code := response.StatusCode
	switch code {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return response, nil
	}
	defer response.Body.Close()
	answer := &StatusError{
		Server:     r.Server,
		Code:       code,
		Status:     response.Status,
		RetryAfter: retryAfter(response),
	}
	answer.Body, _ = io.ReadAll(io.LimitReader(response.Body,
		maxErrorBody)) // what came of it explains enough
	if code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout {
		return nil, answer
	}
	return nil, refusal{answer, true}
}

// retryAfter is how long a server asks to wait, in seconds or until a date.
func retryAfter(response *http.Response) time.Duration {
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date)).Round(time.Second)
	}
	return 0
}

// maxWait is the longest that a pull waits because a server asks for it.
const maxWait = time.Minute

// patience is how long to wait before another attempt, and whether that is still worth it.
func patience(err error, pause time.Duration) (time.Duration, bool) {
	var status *StatusError
	if errors.As(err, &status) && status.RetryAfter > 0 {
		return max(pause, status.RetryAfter), status.RetryAfter <= maxWait
	}
	return pause, true
}

// Get returns a small file from a mirror, at most limit bytes of it.
func (w *Workshop) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	answer, err := w.Ask(ctx, Request{URL: url, Limit: limit})
	return answer.Data, err
}

// Ask returns a small file that is not known beforehand. Its caller judges what it is.
func (w *Workshop) Ask(ctx context.Context, r Request) (Answer, error) {
	pause := w.fetch.pause
	for failures := 0; ; {
		answer, err := w.askOnce(ctx, r)
		failures++
		if err == nil {
			return answer, nil
		}
		wait, patient := patience(err, pause)
		if ctx.Err() != nil || isRefusal(err) || failures >= w.fetch.attempts || !patient {
			return Answer{}, fmt.Errorf("cannot download %s: %w", r.URL, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return Answer{}, err
		}
		pause *= 2
	}
}

func (w *Workshop) askOnce(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := w.fetch.ask(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body := newStallReader(response.Body, r.Server, w.fetch.stall, cancel)
	defer body.stop()
	data, err := io.ReadAll(io.LimitReader(body, r.Limit+1))
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return Answer{}, context.Cause(ctx)
	case err != nil:
		return Answer{}, fmt.Errorf("the %s stopped after %d bytes: %w", r.Server, len(data), err)
	case int64(len(data)) > r.Limit:
		return Answer{}, refusal{error: fmt.Errorf("the %s sends more than %d bytes", r.Server, r.Limit)}
	}
	return Answer{data, response.Header}, nil
}
