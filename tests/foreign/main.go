// An auditor of yoq-web's log who has its address and its public key, and believes nothing else.
// Signatures, tree and proofs are Go's own (golang.org/x/mod/sumdb); nothing here is from yoq-web.
//
//	LOG_TOKEN=… foreign -log http://…/v1/audit/log -key VKEY [-kept FILE] [-every N]
//	foreign -key VKEY -proof FILE -entry FILE
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height   = 8 // of a tile, which holds 256 hashes
	width    = 1 << height
	maxEntry = 65535 // bytes
)

// members are those of a leaf, in order.
var members = strings.Fields(`version event_id time actor actor_kind action target outcome reason request_id node peer
	nonce details`)

type auditor struct {
	url   string
	keys  []note.Verifier
	tiles map[tlog.Tile][]byte // confirmed ones
}

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

// fetch gives the body at a path, or nil where the log says that it is gone for good.
func (a *auditor) fetch(path string) []byte {
	request := must(http.NewRequest("GET", a.url+path, nil))
	request.Header.Set("Authorization", "Bearer "+os.Getenv("LOG_TOKEN"))
	answer := must(http.DefaultClient.Do(request))
	defer answer.Body.Close()
	body := must(io.ReadAll(answer.Body))
	if answer.StatusCode == http.StatusGone {
		return nil
	}
	if answer.StatusCode != http.StatusOK {
		fail("%s: %s: %s", path, answer.Status, body)
	}
	return body
}

// Height, ReadTiles and SaveTiles make the log a tlog.TileReader. What they give is checked by tlog.TileHashReader.
func (a *auditor) Height() int { return height }

func (a *auditor) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if found[i] = a.tiles[tile]; found[i] == nil {
			found[i] = a.fetch(path(tile))
		}
	}
	return found, nil
}

func (a *auditor) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, tile := range tiles {
		a.tiles[tile] = data[i]
	}
}

// path is where C2SP tlog-tiles has a tile: without its height, and with entries for data.
func path(tile tlog.Tile) string {
	found := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "/tile/", 1)
	return strings.Replace(found, "/data/", "/entries/", 1)
}

// open gives the tree of a checkpoint that a known key signed, of the log of that key's name.
func (a *auditor) open(checkpoint []byte) tlog.Tree {
	opened, err := note.Open(checkpoint, note.VerifierList(a.keys...))
	if unsigned := new(note.UnverifiedNoteError); errors.As(err, &unsigned) && a.url != "" {
		a.follow()
		opened, err = note.Open(checkpoint, note.VerifierList(a.keys...))
	}
	check(err)
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != opened.Sigs[0].Name {
		fail("%s signed a checkpoint of %s", opened.Sigs[0].Name, origin)
	}
	return must(tlog.ParseTree([]byte("go.sum database tree\n" + rest))) // Go's logs have no other first line
}

// follow finds the keys after those that are known: each was announced in a note that the one before signed as well.
func (a *auditor) follow() {
	var announcements []string
	check(json.Unmarshal(a.fetch("/key/announcements"), &announcements))
	for _, announcement := range announcements {
		opened, err := note.Open([]byte(announcement), note.VerifierList(a.keys...))
		if err != nil {
			continue // from before the key that is known
		}
		lines := strings.Split(opened.Text, "\n") // the log's name, "key rotation", the old key, the new one
		if len(lines) != 5 || lines[0] != opened.Sigs[0].Name || lines[1] != "key rotation" {
			fail("not an announcement of a key: %q", opened.Text)
		}
		next := must(note.NewVerifier(lines[3]))
		must(note.Open([]byte(announcement), note.VerifierList(next)))
		if slices.ContainsFunc(a.keys, func(known note.Verifier) bool { return known.KeyHash() == next.KeyHash() }) {
			continue
		}
		fmt.Println("the log has a new key:", lines[3])
		a.keys = append(a.keys, next)
	}
}

// hashes are those of a whole tree, as tlog stores them: a tlog.HashReader.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = h[index]
	}
	return found, nil
}

func (h hashes) leaf(index int64) tlog.Hash { return h[tlog.StoredHashIndex(0, index)] }

// entries takes a bundle apart: each entry is behind its length.
func entries(bundle []byte) (found [][]byte) {
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			fail("a bundle is cut off")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		found = append(found, bundle[2:end])
		bundle = bundle[end:]
	}
	return found
}

// rebuild computes the tree from all entries and holds it against the signed one. Of every so many'th entry it asks
// the log for a proof. Of entries that are gone it takes the hashes that the signed tree has.
func (a *auditor) rebuild(tree tlog.Tree, every int64) (own hashes) {
	var gone struct {
		Minimum int64 `json:"minimum_index"`
		Erased  []int64
	}
	check(json.Unmarshal(a.fetch("/retention"), &gone))
	signed := tlog.TileHashReader(tree, a)
	api := &auditor{url: strings.TrimSuffix(a.url, "/log")}
	missing, proofs := int64(0), 0
	for first := int64(0); first < tree.N; first += width {
		tile := tlog.Tile{H: height, L: -1, N: first / width, W: int(min(width, tree.N-first))}
		end := first + int64(tile.W)
		var places []int64
		for index := first; index < end; index++ {
			places = append(places, tlog.StoredHashIndex(0, index))
		}
		leaves := must(signed.ReadHashes(places))
		bundle := a.fetch(path(tile))
		if bundle == nil {
			erased := slices.ContainsFunc(gone.Erased, func(index int64) bool { return first <= index && index < end })
			if !erased && end > gone.Minimum {
				fail("the entries %d to %d are missing", first, end-1)
			}
			missing += end - first
		} else if served := entries(bundle); len(served) != len(leaves) {
			fail("%s has %d entries", path(tile), len(served))
		} else {
			for i, entry := range served {
				index := first + int64(i)
				if tlog.RecordHash(entry) != leaves[i] {
					fail("entry %d is not the one in the signed tree", index)
				}
				var event struct {
					ID      string `json:"event_id"`
					Outcome string
				}
				check(json.Unmarshal(entry, &event))
				if every > 0 && (index%every == 0 || index == tree.N-1) && event.Outcome != "started" {
					if proved, _ := a.prove(api.fetch("/entries/"+event.ID+"/proof"), leaves[i]); proved != index {
						fail("the proof of entry %d is of entry %d", index, proved)
					}
					proofs++
				}
			}
		}
		for i, leaf := range leaves {
			own = append(own, must(tlog.StoredHashesForRecordHash(first+int64(i), leaf, own))...)
		}
	}
	if must(tlog.TreeHash(tree.N, own)) != tree.Hash {
		fail("the entries have another root")
	}
	for index := range tree.N {
		path := must(tlog.ProveRecord(tree.N, index, own))
		check(tlog.CheckRecord(path, tree.N, tree.Hash, index, own.leaf(index)))
	}
	fmt.Printf("all %d entries are in the signed tree; %d of them are not served any more; the log proved %d\n",
		tree.N, missing, proofs)
	return own
}

// grown checks that the older tree is the beginning of the newer: with the hashes that were computed, and with the
// proof that the log gives.
func (a *auditor) grown(older, newer tlog.Tree, own hashes) {
	if older.N == 0 {
		return // the beginning of every tree
	}
	computed := must(tlog.ProveTree(newer.N, older.N, own))
	check(tlog.CheckTree(computed, newer.N, newer.Hash, older.N, older.Hash))
	var given struct{ Hashes tlog.TreeProof }
	check(json.Unmarshal(a.fetch(fmt.Sprintf("/consistency?from=%d&to=%d", older.N, newer.N)), &given))
	check(tlog.CheckTree(given.Hashes, newer.N, newer.Hash, older.N, older.Hash))
}

// prove checks a tlog-proof of the entry with this hash; it gives the entry's index and the size of the tree.
func (a *auditor) prove(proof []byte, leaf tlog.Hash) (int64, int64) {
	head, checkpoint, _ := strings.Cut(string(proof), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		fail("not a proof: %q", head)
	}
	index := must(strconv.ParseInt(lines[1][len("index "):], 10, 64))
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		path = append(path, must(tlog.ParseHash(line)))
	}
	tree := a.open([]byte(checkpoint))
	check(tlog.CheckRecord(path, tree.N, tree.Hash, index, leaf))
	return index, tree.N
}

// leafOf rebuilds what was hashed of an entry from the JSON that the API answers for it.
func leafOf(document []byte) []byte {
	var entry map[string]json.RawMessage
	var moment time.Time
	check(json.Unmarshal(document, &entry))
	check(json.Unmarshal(entry["time"], &moment))
	entry["time"] = strconv.AppendInt(nil, moment.UnixMicro(), 10)
	leaf := []byte("{")
	for _, name := range members {
		if entry[name] == nil {
			fail("the entry has no %s", name)
		}
		if name == "details" && len(leaf)+len(`"details":}`)+len(entry[name]) > maxEntry {
			return fmt.Appendf(leaf, `"details_sha256":"%x"}`, sha256.Sum256(entry[name]))
		}
		leaf = fmt.Appendf(leaf, "%q:%s,", name, []byte(entry[name]))
	}
	return append(leaf[:len(leaf)-1], '}')
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
