package remote

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"restante/internal/resolver"
	"restante/internal/tlsrpt"
)

// The usages, selectors and matching types of TLSA records that SMTP knows (RFC
// 6698 section 2.1, RFC 7218, RFC 7672 section 3.1).
const (
	usageTA = 2 // an authority of the domain's own choice
	usageEE = 3 // the server's certificate itself

	selectCert = 0
	selectKey  = 1

	matchExact  = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// usable returns the records that can be held against a certificate. Usages 0
// and 1, which need authorities that everybody trusts, are not for SMTP (RFC 7672
// section 3.1.3). Of digests of the same thing the strongest algorithm counts
// alone (RFC 7671 section 9).
func usable(records []resolver.TLSA) []resolver.TLSA {
	var list []resolver.TLSA
	strongest := make(map[[2]uint8]uint8)
	for _, r := range records {
		length := map[uint8]int{matchSHA256: sha256.Size, matchSHA512: sha512.Size}[r.Matching]
		switch {
		case r.Usage != usageTA && r.Usage != usageEE, r.Selector > selectKey, r.Matching > matchSHA512,
			len(r.Data) == 0, length != 0 && length != len(r.Data):
			continue
		}
		list = append(list, r)
		kind := [2]uint8{r.Usage, r.Selector}
		strongest[kind] = max(strongest[kind], r.Matching)
	}
	kept := list[:0]
	for _, r := range list {
		if r.Matching == matchExact || r.Matching == strongest[[2]uint8{r.Usage, r.Selector}] {
			kept = append(kept, r)
		}
	}
	return kept
}

// matches tells whether a record is of a certificate.
func matches(r resolver.TLSA, cert *x509.Certificate) bool {
	data := cert.Raw
	if r.Selector == selectKey {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// checkTLSA holds a chain against usable records. With DANE-EE neither names nor
// dates count (RFC 7672 section 3.1.1); with DANE-TA they do (3.1.2).
func checkTLSA(records []resolver.TLSA, names []string, chain []*x509.Certificate, now time.Time) error {
	var authority error
	for _, r := range records {
		if r.Usage == usageEE && matches(r, chain[0]) {
			return nil
		}
		if r.Usage != usageTA {
			continue
		}
		for _, ca := range authorities(r, chain) {
			err := checkChain(chain, poolOf(ca), names, now, x509.ExtKeyUsageAny)
			if err == nil {
				return nil
			}
			authority = err
		}
	}
	if authority != nil {
		return authority
	}
	return &demandError{tlsrpt.ValidationFailure, "the certificate matches none of its TLSA records"}
}

// authorities are those certificates of a chain that a record is of, and one
// that it holds whole.
func authorities(r resolver.TLSA, chain []*x509.Certificate) []*x509.Certificate {
	var list []*x509.Certificate
	for _, cert := range chain[1:] {
		if matches(r, cert) {
			list = append(list, cert)
		}
	}
	if r.Selector == selectCert && r.Matching == matchExact && len(list) == 0 {
		if cert, err := x509.ParseCertificate(r.Data); err == nil {
			list = append(list, cert)
		}
	}
	return list
}

func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// tlsaText is a record as zone files have it, with little of a long one.
func tlsaText(r resolver.TLSA) string {
	data := strings.ToUpper(fmt.Sprintf("%x", r.Data[:min(len(r.Data), 64)]))
	return fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.Matching, data)
}
