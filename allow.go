package pyro

import "github.com/pyro-mcp/pyro/internal/network"

// WithinAllow tells whether all that a rule of an allow-list opens (see [Shape]) is opened by the rules of
// another, or is the public internet if that has none. An error of [ErrInvalid] says that a rule cannot be
// read.
func WithinAllow(allow []string, rule string) (bool, error) {
	within, err := network.Within(allow, rule)
	if err != nil {
		return false, &Error{Kind: ErrInvalid, Message: err.Error(), cause: err}
	}
	return within, nil
}
