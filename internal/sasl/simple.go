package sasl

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"
)

// plain is PLAIN: "authzid NUL user NUL password" in one response.
func (x *Exchange) plain(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.plainResponse, nil
	}
	return x.plainResponse(ctx, response)
}

func (x *Exchange) plainResponse(ctx context.Context, response []byte) ([]byte, step, error) {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || !utf8.Valid(response) {
		return nil, nil, ErrMalformed
	}
	return nil, nil, x.password(ctx, string(parts[0]), string(parts[1]), string(parts[2]))
}

func (x *Exchange) password(ctx context.Context, authzid, user, password string) error {
	if err := x.named(user); err != nil {
		return err
	}
	account, err := x.sources.Passwords.Authenticate(ctx, user, password, x.peer.Addr)
	if err != nil {
		return err
	}
	return x.as(account, user, authzid)
}

// login is LOGIN: the user and the password, each asked for. The user may come
// as initial response.
func (x *Exchange) login(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return []byte("Username:"), x.loginUser, nil
	}
	return x.loginUser(ctx, response)
}

func (x *Exchange) loginUser(_ context.Context, response []byte) ([]byte, step, error) {
	if len(response) == 0 || !utf8.Valid(response) {
		return nil, nil, ErrMalformed
	}
	user := string(response)
	return []byte("Password:"), func(ctx context.Context, response []byte) ([]byte, step, error) {
		return nil, nil, x.password(ctx, "", user, string(response))
	}, nil
}

// external is EXTERNAL: the certificate of the TLS channel says it all, and the
// response is empty or names the same identity.
func (x *Exchange) external(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.externalIdentity, nil
	}
	return x.externalIdentity(ctx, response)
}

func (x *Exchange) externalIdentity(_ context.Context, response []byte) ([]byte, step, error) {
	if !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, nil, ErrMalformed
	}
	id, err := x.sources.Certified(x.peer.Channel)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	x.User = id.Account
	return nil, nil, x.as(id.Account, id.Account, string(response))
}
