package oci

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// failure is an error with what to do about it.
type failure struct {
	text, hint string
	cause      error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Hint() string  { return f.hint }
func (f *failure) Unwrap() error { return f.cause }

func errJoin(err, other error) error {
	if other == nil {
		return err
	}
	return errors.Join(err, other)
}

// explain words what a registry answered, or why it could not be asked.
func (r *registry) explain(err error) error {
	host, image := hostName(r.ref.Context().RegistryStr()), hostName(r.ref.Context().RegistryStr())+"/"+
		r.ref.Context().RepositoryStr()
	var plain *plainError
	var certificate *tls.CertificateVerificationError
	code, said := status(err)
	f := &failure{cause: err}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &certificate):
		f.text = fmt.Sprintf("the registry %q cannot be trusted: %v", host, certificate.Err)
		f.hint = "have this host trust who signed its certificate, or accept any with " +
			"{insecure_registries} " + host
	case code == http.StatusUnauthorized && r.user == "":
		f.text = fmt.Sprintf("the registry %q wants credentials for %q, or has no such image%s", host, image,
			said)
		f.hint = "log in with docker login " + host +
			" (or podman login); the credentials that it keeps are used"
	case code == http.StatusUnauthorized:
		f.text = fmt.Sprintf("the registry %q refuses the credentials of %q%s", host, r.user, said)
		f.hint = "log in again with docker login " + host
	case code == http.StatusForbidden:
		f.text = fmt.Sprintf("the registry %q does not let %s %s %q%s", host,
			cmp.Or(r.user, "anonymous users"), r.verb(), image, said)
		f.hint = "log in with docker login " + host + " as somebody who may"
	case code == http.StatusNotFound:
		f.text = fmt.Sprintf("the registry %q has no %q%s", host, r.ref.Name(), said)
		f.hint = "look for a misspelt name or tag"
	case code == http.StatusTooManyRequests:
		f.text = fmt.Sprintf("the registry %q answers too many requests%s: %s", host, said,
			clean(err.Error(), 400))
		f.hint = "wait, or log in with docker login " + host +
			": limits are often wider for those who are known"
	case code >= 500:
		f.text = fmt.Sprintf("the registry %q fails%s: %s", host, said, clean(err.Error(), 400))
		f.hint = "try again later"
	case code != 0:
		f.text = fmt.Sprintf("the registry %q refuses%s: %s", host, said, clean(err.Error(), 400))
	case errors.As(err, &plain):
		f.text = fmt.Sprintf("the registry %q cannot be asked over TLS: %v", host, err)
		f.hint = "if it is to be asked without, pass {insecure_registries} " + plain.host
	default:
		return err
	}
	return f
}

// status is the HTTP status of an answer, and the registry's own words about it.
func status(err error) (code int, said string) {
	var answer *environment.StatusError
	if errors.As(err, &answer) {
		var body struct{ Errors []transport.Diagnostic }
		if json.Unmarshal(answer.Body, &body) != nil {
			return answer.Code, ""
		}
		return answer.Code, words(body.Errors)
	}
	var refused *transport.Error
	if errors.As(err, &refused) {
		return refused.StatusCode, words(refused.Errors)
	}
	return 0, ""
}

// words are what a registry says, as a part of our line: short, and without control characters.
func words(all []transport.Diagnostic) string {
	if len(all) == 0 {
		return ""
	}
	text := cmp.Or(all[0].Message, string(all[0].Code))
	return " (" + clean(text, 200) + ")"
}

// clean makes one line of foreign text.
func clean(text string, limit int) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit]) + "…"
	}
	return text
}
