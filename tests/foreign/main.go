// An auditor of yoq-web's log who has its address and its public key, and believes nothing else.
// Signatures, tree and proofs are Go's own (golang.org/x/mod/sumdb); nothing here is from yoq-web.
//
//	LOG_TOKEN=… foreign -log http://…/v1/audit/log -key VKEY [-kept FILE] [-every N]
//	foreign -key VKEY -proof FILE -entry FILE
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "NOT verified: "+format+"\n", arguments...)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func main() {
	auditor := &auditor{tiles: make(map[tlog.Tile][]byte)}
	flag.StringVar(&auditor.url, "log", "", "where the log is; a token for it is in the environment variable LOG_TOKEN")
	flag.Func("key", "a public key of the log", func(vkey string) error {
		verifier, err := note.NewVerifier(vkey)
		auditor.keys = append(auditor.keys, verifier)
		return err
	})
	kept := flag.String("kept", "", "the file that keeps the last checkpoint seen, from one time to the next")
	every := flag.Int64("every", 0, "ask the log for the proof of every so many'th entry")
	proof := flag.String("proof", "", "a tlog-proof, to be checked offline")
	document := flag.String("entry", "", "the entry that it is of, as JSON")
	flag.Parse()
	if *proof != "" {
		leaf := leafOf(must(os.ReadFile(*document)))
		index, size := auditor.prove(must(os.ReadFile(*proof)), tlog.RecordHash(leaf))
		fmt.Printf("entry %d of %d is: %s\n", index, size, leaf)
		return
	}
	if auditor.url == "" {
		flag.Usage()
		os.Exit(2)
	}
	checkpoint := auditor.fetch("/checkpoint")
	tree := auditor.open(checkpoint)
	own := auditor.rebuild(tree, *every)
	if *kept == "" {
		return
	}
	if old, err := os.ReadFile(*kept); err == nil {
		older := auditor.open(old)
		auditor.grown(older, tree, own)
		fmt.Printf("the %d entries of the checkpoint that was kept are its beginning\n", older.N)
	} else if !errors.Is(err, fs.ErrNotExist) {
		fail("%v", err)
	}
	check(os.WriteFile(*kept, checkpoint, 0o600))
}
