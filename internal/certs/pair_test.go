package certs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"crypto/x509"
	"encoding/pem"

	"restante/internal/standin"
)

func TestPair(t *testing.T) {
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	put := func(age time.Duration) *standin.Certificate {
		c, err := standin.NewCertificate("a.test")
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(c.Certificate.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		for name, block := range map[string]*pem.Block{
			crt: {Type: "CERTIFICATE", Bytes: c.Certificate.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
		} {
			if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			when := time.Unix(1e9, 0).Add(age)
			if err := os.Chtimes(name, when, when); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	get := Pair(crt, key)
	if _, err := get(); err == nil {
		t.Error("files that are not there are read")
	}
	for i := range 2 {
		want := put(time.Duration(i) * time.Second)
		for range 2 {
			if got, err := get(); err != nil || !got.Leaf.Equal(want.Certificate.Leaf) {
				t.Errorf("change %d: %v", i, err)
			}
		}
	}
	other, err := os.ReadFile(crt)
	if err != nil {
		t.Fatal(err)
	}
	put(3 * time.Second)
	if err := os.WriteFile(crt, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get(); err == nil {
		t.Error("a certificate and a key that do not belong together are taken")
	}
}
