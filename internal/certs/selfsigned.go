package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"restante/internal/wholefile"
)

// A self-signed certificate is good for two years, less than the 825 days that
// Apple's clients accept, and is replaced in its last 30 days.
const (
	lifetime = 2 * 365 * 24 * time.Hour
	renewal  = 30 * 24 * time.Hour
)

const (
	selfCertificate = "self-signed.crt"
	selfKey         = "self-signed.key"
)

// selfSigned loads the certificate in the directory, or makes a new one if
// there is none, or it is of no more use. The key stays the same as long as
// its file can be read, so that clients that pinned it are not alarmed.
func selfSigned(opt Options) (*tls.Certificate, error) {
	if opt.Directory == "" {
		return nil, errors.New("no directory to keep a self-signed certificate in")
	}
	certificate, key := filepath.Join(opt.Directory, selfCertificate), filepath.Join(opt.Directory, selfKey)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err == nil && usable(pair.Leaf, opt) {
		return &pair, nil
	}
	if err := os.MkdirAll(opt.Directory, 0o700); err != nil {
		return nil, err
	}
	signer, err := loadOrMakeKey(key)
	if err != nil {
		return nil, err
	}
	der, err := sign(signer, opt)
	if err != nil {
		return nil, fmt.Errorf("make a self-signed certificate: %w", err)
	}
	if err := writePEM(certificate, "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	made, err := loadPair(certificate, key)
	if err == nil {
		opt.Logger.Info("made a self-signed certificate", "file", certificate, "until", made.Leaf.NotAfter)
	}
	return made, err
}

// usable tells whether a certificate is for the right name and has time left.
func usable(leaf *x509.Certificate, opt Options) bool {
	now := opt.Now()
	return !now.Before(leaf.NotBefore) && now.Add(renewal).Before(leaf.NotAfter) &&
		len(leaf.DNSNames) > 0 && leaf.DNSNames[0] == hostname(opt)
}

func hostname(opt Options) string {
	if opt.Hostname == "" {
		return "localhost"
	}
	return opt.Hostname
}

func loadOrMakeKey(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		if block, _ := pem.Decode(b); block != nil {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if signer, ok := key.(crypto.Signer); ok {
					return signer, nil
				}
			}
		}
		// Ours to make, and of no use to anybody as it is: make another.
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "PRIVATE KEY", der, 0o600)
}

func sign(key crypto.Signer, opt Options) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	// An hour back, for clients whose clock is slow.
	begin := opt.Now().Add(-time.Hour)
	name := hostname(opt)
	t := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name[:min(len(name), 64)], Organization: []string{"restante, self-signed"}},
		NotBefore:    begin,
		NotAfter:     begin.Add(lifetime),
		DNSNames:     []string{name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// Not an authority: who trusts it trusts this server alone.
		BasicConstraintsValid: true,
	}
	if name != "localhost" {
		t.DNSNames = append(t.DNSNames, "localhost")
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// writeFile replaces a file as a whole and durably.
func writeFile(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return wholefile.SyncDir(filepath.Dir(path))
}
