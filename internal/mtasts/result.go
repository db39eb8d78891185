package mtasts

import (
	"crypto/tls"
	"errors"

	"restante/internal/tlsrpt"
)

// Result is what reports call the reason that a policy cannot be had (RFC 8460
// section 4.3.2.2).
func Result(err error) tlsrpt.Result {
	switch bad := (*tls.CertificateVerificationError)(nil); {
	case errors.Is(err, ErrSyntax):
		return tlsrpt.STSInvalid
	case errors.As(err, &bad):
		return tlsrpt.STSWebPKI
	}
	return tlsrpt.STSFetch
}
