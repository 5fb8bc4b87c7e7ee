// What the auditor reads of the log: tiles, checkpoints, and the keys that sign them.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8 // of a tile, which holds 256 hashes
	width  = 1 << height
)

type auditor struct {
	url   string
	keys  []note.Verifier
	tiles map[tlog.Tile][]byte // confirmed ones
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
