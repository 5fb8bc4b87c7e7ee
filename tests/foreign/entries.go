// What the auditor checks of the entries: that each is in the signed tree, and that the tree only grew.

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const maxEntry = 65535 // bytes

// members are those of a leaf, in order.
var members = strings.Fields(`version event_id time actor actor_kind action target outcome reason request_id node peer
	nonce details`)

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
