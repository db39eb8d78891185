package control

import (
	"context"
	"net/http"
)

// Question asks what would become of a message: POST /v1/explain.
type Question struct {
	// From is the envelope's sender; "" or "<>" is the null sender.
	From string `json:"from"`
	// Author is the address in the From field; "" is the sender.
	Author string `json:"author,omitempty"`
	// To are the recipients; at least one.
	To []string `json:"to"`
	// Client is the address the client comes from; "" is a stranger's.
	Client string `json:"client,omitempty"`
	// User is the account that has logged in, as it would log in.
	User string `json:"user,omitempty"`
	// TLS tells that the connection is encrypted; who logs in has it anyway.
	TLS bool `json:"tls,omitempty"`
	// Headers are fields of the header, "Name: value", for routes that ask for
	// some.
	Headers []string `json:"headers,omitempty"`
	// Listener is the role of the listener: smtp, submission, submissions or
	// lmtp; "" is smtp, or submission for a User.
	Listener string `json:"listener,omitempty"`
}

// Explanation is the answer to a Question.
type Explanation struct {
	// Accepted tells that somebody would get the message.
	Accepted bool `json:"accepted"`
	// Facts are the rules that apply, in the order in which they do.
	Facts []Fact `json:"facts"`
}

// Fact is one rule that applies.
type Fact struct {
	// Kind is what the rule is about; docs/explain.md lists the kinds.
	Kind string `json:"kind"`
	// About is the recipient or the destination it is for, "" for the message.
	About string `json:"about,omitempty"`
	Text  string `json:"text"`
	// Refused tells that the rule refuses something.
	Refused bool `json:"refused,omitempty"`
}

// Explainer answers Questions.
type Explainer func(ctx context.Context, q Question) (Explanation, error)

func (s *Server) postExplain(w http.ResponseWriter, r *http.Request) error {
	var q Question
	if err := s.readJSON(w, r, &q); err != nil {
		return err
	}
	if s.opt.Explain == nil {
		return errorf(CodeNotFound, "nothing explains here")
	}
	e, err := s.opt.Explain(r.Context(), q)
	if err != nil {
		return err
	}
	if e.Facts == nil {
		e.Facts = []Fact{}
	}
	writeJSON(w, http.StatusOK, e)
	return nil
}

// Explain asks the daemon what would become of a message.
func (c *Client) Explain(ctx context.Context, q Question) (Explanation, error) {
	var e Explanation
	err := c.call(ctx, "POST", "/v1/explain", nil, q, &e)
	return e, err
}
