package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"restante/internal/mail"
)

// bearer is OAUTHBEARER (RFC 7628): a GS2 header and key-value pairs, between
// which there is a control character.
func (x *Exchange) bearer(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.bearerResponse, nil
	}
	return x.bearerResponse(ctx, response)
}

func (x *Exchange) bearerResponse(ctx context.Context, response []byte) ([]byte, step, error) {
	m, err := parseBearer(response)
	if err != nil {
		return nil, nil, err
	}
	return x.token(ctx, m, map[string]string{
		"status":               "invalid_token",
		"openid-configuration": x.sources.Tokens.Discovery(),
	})
}

// xoauth2 is XOAUTH2, which has the user among the pairs and another form of
// error.
func (x *Exchange) xoauth2(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.xoauth2Response, nil
	}
	return x.xoauth2Response(ctx, response)
}

func (x *Exchange) xoauth2Response(ctx context.Context, response []byte) ([]byte, step, error) {
	m, err := parseXOAuth2(response)
	if err != nil {
		return nil, nil, err
	}
	return x.token(ctx, m, map[string]string{"status": "401", "schemes": "bearer"})
}

// token checks a token. To a bad one the mechanisms answer with a challenge that
// says so; the client has to respond before the exchange can fail (RFC 7628
// section 3.2.3).
func (x *Exchange) token(ctx context.Context, m bearerMessage, failure map[string]string) ([]byte, step, error) {
	if err := x.named(m.user); err != nil {
		return nil, nil, err
	}
	account, err := x.sources.Tokens.Token(ctx, m.token)
	if err == nil {
		err = x.as(account, account, m.user)
	}
	if !errors.Is(err, mail.ErrBadCredentials) && !errors.Is(err, ErrIdentity) {
		return nil, nil, err
	}
	why := err
	text, err := json.Marshal(failure)
	if err != nil {
		return nil, nil, fmt.Errorf("error of the mechanism: %w", err)
	}
	return text, func(context.Context, []byte) ([]byte, step, error) { return nil, nil, why }, nil
}

// bearerMessage is what a client says in either mechanism. The user is the one
// it wants to act as, "" for whomever the token is for.
type bearerMessage struct{ user, token string }

func parseBearer(b []byte) (bearerMessage, error) {
	header, rest, ok := bytes.Cut(b, []byte{1})
	if !ok || !utf8.Valid(b) {
		return bearerMessage{}, ErrMalformed
	}
	h, err := parseGS2(string(header))
	switch {
	case err != nil:
		return bearerMessage{}, err
	case h.rest != "" || h.flag == 'p':
		return bearerMessage{}, ErrMalformed
	}
	pairs, err := parsePairs(rest)
	if err != nil {
		return bearerMessage{}, err
	}
	token, err := bearerToken(pairs["auth"])
	return bearerMessage{h.authzid, token}, err
}

func parseXOAuth2(b []byte) (bearerMessage, error) {
	if !utf8.Valid(b) {
		return bearerMessage{}, ErrMalformed
	}
	pairs, err := parsePairs(b)
	if err != nil {
		return bearerMessage{}, err
	}
	token, err := bearerToken(pairs["auth"])
	if pairs["user"] == "" {
		err = ErrMalformed
	}
	return bearerMessage{pairs["user"], token}, err
}

// parsePairs reads "key=value" pairs, each with a ^A behind it, and a last ^A.
func parsePairs(b []byte) (map[string]string, error) {
	b, ok := bytes.CutSuffix(b, []byte{1, 1})
	if !ok || len(b) == 0 {
		return nil, ErrMalformed
	}
	pairs := make(map[string]string)
	for pair := range bytes.SplitSeq(b, []byte{1}) {
		key, value, ok := bytes.Cut(pair, []byte("="))
		if _, twice := pairs[string(key)]; !ok || len(key) == 0 || twice || bytes.IndexByte(value, 0) >= 0 {
			return nil, ErrMalformed
		}
		for _, c := range key {
			if c |= 0x20; c < 'a' || c > 'z' {
				return nil, ErrMalformed
			}
		}
		pairs[string(key)] = string(value)
	}
	return pairs, nil
}

// bearerToken takes the token out of "Bearer TOKEN" (RFC 6750 section 2.1).
func bearerToken(s string) (string, error) {
	scheme, token, ok := strings.Cut(s, " ")
	token = strings.TrimLeft(token, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", ErrMalformed
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", ErrMalformed
		}
	}
	return token, nil
}
