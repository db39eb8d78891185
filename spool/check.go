package spool

import (
	"context"
	"time"
)

// Checker looks after an engine's own integrity.
type Checker interface {
	// Check walks everything that is stored and compares it. It works on a
	// snapshot, so it may run beside every other verb. Only one runs at a
	// time; a second fails with ErrChecking.
	Check(ctx context.Context, opt CheckOptions) (CheckReport, error)
	// Losses returns the acknowledged commits that were found missing and
	// that no Check with Repair has acknowledged yet, the oldest first.
	Losses() []Loss
}

// Loss is a run of commits that were acknowledged and are not there.
type Loss struct {
	// First and Last are the numbers of the commits. One commit may hold the
	// changes of several verbs.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// From is when the last commit before them was made, zero if there was
	// none; To is when the last of them was made.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to"`
	// Found is when the loss was noticed.
	Found time.Time `json:"found"`
}

// Commits is how many are missing.
func (l Loss) Commits() uint64 { return l.Last - l.First + 1 }

// CheckOptions says what Check does.
type CheckOptions struct {
	// Repair mends what can be mended and moves aside what cannot; nothing
	// readable is deleted. It acknowledges the losses too.
	Repair bool
	// Bodies has every body read and its hash compared; without it the
	// presence of its parts is all that is looked at.
	Bodies bool
	// Found, if not nil, is called with each finding, one at a time, after it
	// was mended if it was.
	Found func(Finding)
	// Progress, if not nil, is called now and then with the records read.
	Progress func(records int64)
}

// Action is what Check did about a finding.
type Action string

// The actions.
const (
	// ActionNone: it was only found.
	ActionNone Action = ""
	// ActionRepaired: things are as they should be.
	ActionRepaired Action = "repaired"
	// ActionMovedAside: what was damaged is in the lost+found directory, and
	// what depended on it is consistent again.
	ActionMovedAside Action = "moved aside"
	// ActionFailed: mending failed, for the reason in Finding.Error.
	ActionFailed Action = "failed"
)

// Finding is one thing that is wrong.
type Finding struct {
	// Kind is one of the engine's kinds of damage, a short name that stays.
	Kind string `json:"kind"`
	// Key names the record in readable form.
	Key string `json:"key"`
	// What tells what is wrong with it.
	What   string `json:"what"`
	Action Action `json:"action,omitempty"`
	// File is where what was moved aside is, in the lost+found directory.
	File  string `json:"file,omitempty"`
	Error string `json:"error,omitempty"`
}

// CheckReport is the outcome of Check.
type CheckReport struct {
	// Records counts what was read, by the name of its kind, Octets the body
	// octets that were compared with their hashes.
	Records map[string]int64 `json:"records"`
	Octets  int64            `json:"octets"`
	// Rounds is how often everything was walked: repairs are looked at again.
	Rounds int `json:"rounds"`
	// Findings counts all that was found, Repaired and MovedAside what was
	// done about them, Remaining what the last round still found.
	Findings   int `json:"findings"`
	Repaired   int `json:"repaired"`
	MovedAside int `json:"moved_aside"`
	Remaining  int `json:"remaining"`
	// Kinds counts the findings by kind.
	Kinds map[string]int `json:"kinds"`
	// Losses are those that were open when the check began.
	Losses []Loss `json:"losses,omitempty"`
	// LostFound is the directory of what was moved aside, now or earlier; ""
	// if there is nothing in it.
	LostFound string        `json:"lost_found,omitempty"`
	Took      time.Duration `json:"took"`
}
