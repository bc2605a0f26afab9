// Checks a proof of the audit log with Go's own sumdb packages: note (C2SP signed-note) and tlog (RFC 6962).
package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func hash(text string) (found tlog.Hash) {
	data, err := base64.StdEncoding.DecodeString(text)
	must(err)
	copy(found[:], data)
	return found
}

func main() {
	data, err := io.ReadAll(os.Stdin)
	must(err)
	head, signed, _ := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	verifier, err := note.NewVerifier(os.Args[1])
	must(err)
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	must(err)
	text := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(text[1], 10, 64)
	must(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	must(err)
	line, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	must(err)
	proof := tlog.RecordProof{}
	for _, each := range lines[3:] {
		proof = append(proof, hash(each))
	}
	must(tlog.CheckRecord(proof, size, hash(text[2]), index, tlog.RecordHash(line)))
	fmt.Println("proven", text[0], index, size, len(opened.Sigs))
}
