package control

import (
	"fmt"
	"time"

	"restante/internal/directory"
	"restante/internal/mail"
	"restante/spool"
)

// Task is one task of the queue.
type Task struct {
	ID          spool.TaskID `json:"id"`
	Message     mail.ID      `json:"message"`
	State       spool.State  `json:"state"`
	Destination string       `json:"destination"`
	// Pinned tells that somebody chose the destination, whatever the routes say.
	Pinned     bool         `json:"pinned,omitempty"`
	From       mail.Address `json:"from"`
	Recipients []Recipient  `json:"recipients"`
	// Size is the body's, in octets.
	Size     int64 `json:"size"`
	Priority int   `json:"priority,omitempty"`
	Attempts int   `json:"attempts"`
	// Queued is when the message came in.
	Queued time.Time `json:"queued"`
	// NextTry is when the task will be tried next as things are now, its
	// destination's back-off included; zero if no timer runs for it.
	NextTry time.Time `json:"next_try,omitzero"`
	// Due is the task's own next time, whatever the destination's.
	Due     time.Time `json:"due,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Warns   time.Time `json:"warns,omitzero"`
	Warned  bool      `json:"warned,omitempty"`
	// Backoff is the destination's, nil if it is in none.
	Backoff *Backoff `json:"backoff,omitempty"`
}

// Last returns the status to show for the whole task: the first recipient's
// that has one, else why the destination was not reached; nil if neither.
func (t Task) Last() *Status {
	for _, r := range t.Recipients {
		if r.Last != nil {
			return r.Last
		}
	}
	if t.Backoff != nil {
		return t.Backoff.Last
	}
	return nil
}

// Recipient is a recipient of a task that has not come to its end.
type Recipient struct {
	To mail.Address `json:"to"`
	// Original is DSN's ORCPT, "type;address".
	Original string   `json:"original,omitempty"`
	Notify   []string `json:"notify,omitempty"`
	// Last is the outcome of the last attempt, nil before the first.
	Last *Status `json:"last,omitempty"`
}

// Status is a mail.Status.
type Status struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Class    string `json:"class"`
	Text     string `json:"text"`
	Remote   string `json:"remote,omitempty"`
}

// String is "451 4.3.0 try later (mx.example [192.0.2.1])", "" of nil.
func (s *Status) String() string {
	if s == nil {
		return ""
	}
	text := s.Text
	if s.Code != 0 {
		text = fmt.Sprintf("%d %s %s", s.Code, s.Enhanced, s.Text)
	}
	if s.Remote != "" {
		text += " (" + s.Remote + ")"
	}
	return text
}

// Backoff is how a destination is left alone.
type Backoff struct {
	// Failures counts the attempts in a row that did not reach it.
	Failures int `json:"failures"`
	// Until is when it is tried again.
	Until time.Time `json:"until"`
	Last  *Status   `json:"last,omitempty"`
}

// Message is all that is known of one stored message.
type Message struct {
	ID mail.ID `json:"id"`
	// Size is the message's, in octets. Hash is what the spool holds it
	// against: SHA-256 of the body and then the header, in hexadecimal.
	Size int64  `json:"size"`
	Hash string `json:"hash"`
	// References counts the tasks and mailbox entries that need the body.
	References int      `json:"references"`
	Envelope   Envelope `json:"envelope"`
	Tasks      []Task   `json:"tasks"`
	// Header is the message's header as it is stored, at most 64 KiB of it;
	// octets that are not UTF-8 are replaced.
	Header string `json:"header"`
	// HeaderCut tells that the header is longer than what is shown.
	HeaderCut bool `json:"header_cut,omitempty"`
}

// Envelope is a mail.Envelope.
type Envelope struct {
	From       mail.Address `json:"from"`
	EnvID      string       `json:"envid,omitempty"`
	Ret        string       `json:"ret,omitempty"`
	EightBit   bool         `json:"eight_bit,omitempty"`
	UTF8       bool         `json:"utf8,omitempty"`
	RequireTLS bool         `json:"require_tls,omitempty"`
	Priority   int          `json:"priority,omitempty"`
	// DeliverBy is when the sender is told that the message is late or, if
	// OrReturn is set, has it back; HoldUntil is when it goes out at the
	// earliest. Zero if nothing was asked for.
	DeliverBy time.Time `json:"deliver_by,omitzero"`
	OrReturn  bool      `json:"or_return,omitempty"`
	// TraceBy tells that each relay on the way is to report (DELIVERBY's trace).
	TraceBy   bool      `json:"trace_by,omitempty"`
	HoldUntil time.Time `json:"hold_until,omitzero"`
	Arrived   time.Time `json:"arrived"`
	// Protocol, Addr, Helo and Account say who handed the message over.
	Protocol string `json:"protocol"`
	Addr     string `json:"addr,omitempty"`
	Helo     string `json:"helo,omitempty"`
	Account  string `json:"account,omitempty"`
}

// Submission is the envelope of a message that is handed over.
type Submission struct {
	// From is the sender: an address, a bare local name, or "<>" for the null
	// sender; "" is the user at the other end.
	From string `json:"from,omitempty"`
	// Name is the display name for a From field that is missing.
	Name string `json:"name,omitempty"`
	// Recipients are addresses or bare local names.
	Recipients []string `json:"recipients,omitempty"`
	// FromHeader adds the recipients of To, Cc and Bcc.
	FromHeader bool `json:"from_header,omitempty"`
	// EnvID and Ret ("full", "hdrs") are DSN's; Notify ("never" alone, or any
	// of "success", "failure", "delay") goes for every recipient.
	EnvID  string   `json:"envid,omitempty"`
	Ret    string   `json:"ret,omitempty"`
	Notify []string `json:"notify,omitempty"`
	// Once is a name of the client's choice, at most 100 octets: what is
	// handed over again under the same name within a day is taken once.
	Once string `json:"once,omitempty"`
}

// Submitted is the acknowledgement of a message: it is durable.
type Submitted struct {
	ID mail.ID `json:"id"`
	// Deposited counts the mailboxes it went to, Queued its tasks.
	Deposited int `json:"deposited"`
	Queued    int `json:"queued"`
}

// Account is one account, with neither its password nor its mail.
type Account = directory.Info

// DaemonStatus is the daemon as it is now.
type DaemonStatus struct {
	Version string `json:"version"`
	// Hostname is what the daemon calls itself in SMTP.
	Hostname string    `json:"hostname,omitempty"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	// Uptime is in seconds.
	Uptime    int64      `json:"uptime"`
	StateDir  string     `json:"state_dir"`
	Listeners []Listener `json:"listeners"`
	// Losses are acknowledged commits that were found missing from the spool
	// and that nobody has acknowledged with a repair.
	Losses []spool.Loss `json:"losses,omitempty"`
	// Queue is left out for those who may not administer.
	Queue *QueueStatus `json:"queue,omitempty"`
	// Spool likewise.
	Spool *SpoolStatus `json:"spool,omitempty"`
	// Maildrop likewise.
	Maildrop *MaildropStatus `json:"maildrop,omitempty"`
	// Quotas are what routes and hosts with a daily quota were given today.
	Quotas []QuotaStatus `json:"quotas,omitempty"`
}

// MaildropStatus counts the files in the maildrop.
type MaildropStatus struct {
	Dir string `json:"dir"`
	// Waiting are those that will be picked up, Bad those that could not be
	// and were moved aside.
	Waiting int `json:"waiting"`
	Bad     int `json:"bad"`
}

// Listener is a socket the daemon listens on.
type Listener struct {
	// Name is smtp, submission, submissions, imap or imaps.
	Name string `json:"name"`
	// Addr is the real address, "127.0.0.1:2525".
	Addr string `json:"addr"`
}

// QueueStatus counts the queue.
type QueueStatus struct {
	Tasks  int            `json:"tasks"`
	States map[string]int `json:"states"`
	// Destinations are those with the most tasks, at most a thousand.
	Destinations []DestinationStatus `json:"destinations"`
}

// DestinationStatus is one destination that has tasks or is in back-off.
type DestinationStatus struct {
	Destination string   `json:"destination"`
	Tasks       int      `json:"tasks"`
	Backoff     *Backoff `json:"backoff,omitempty"`
}

func viewStatus(s mail.Status) *Status {
	if s == (mail.Status{}) {
		return nil
	}
	e := s.EnhancedOrDefault()
	return &Status{
		Code:     s.Code,
		Enhanced: fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2]),
		Class:    s.Class().String(),
		Text:     s.Text,
		Remote:   s.Remote,
	}
}

func viewBackoff(d spool.DestinationInfo, now time.Time) *Backoff {
	return &Backoff{Failures: d.Failures, Until: now.Add(d.Backoff).Round(time.Second), Last: viewStatus(d.Last)}
}

func viewTask(t spool.TaskInfo, backoff *Backoff) Task {
	v := Task{
		ID: t.ID, Message: t.ID.Message, State: t.State,
		Destination: t.Destination.String(), Pinned: t.Pinned,
		From:       t.Envelope.From,
		Recipients: make([]Recipient, 0, len(t.Recipients)),
		Size:       t.Size, Priority: t.Envelope.Priority, Attempts: t.Attempts,
		Queued: t.Queued, Due: t.Due, Expires: t.Expires, Warns: t.Warns, Warned: t.Warned,
		Backoff: backoff,
	}
	for _, r := range t.Recipients {
		v.Recipients = append(v.Recipients, Recipient{
			To: r.To, Original: r.Original, Notify: notifyNames(r.Notify), Last: viewStatus(r.Last),
		})
	}
	v.NextTry = nextTry(&t, backoff)
	return v
}

// nextTry is when a task will be tried next as things are now; zero if no timer
// runs for it.
func nextTry(t *spool.TaskInfo, backoff *Backoff) time.Time {
	switch {
	case t.State != spool.Queued:
		return time.Time{}
	case backoff != nil && backoff.Until.After(t.Due):
		return backoff.Until
	}
	return t.Due
}

func viewEnvelope(e mail.Envelope) Envelope {
	v := Envelope{
		From: e.From, EnvID: e.EnvID, Ret: retName(e.Ret),
		EightBit: e.EightBit, UTF8: e.UTF8, RequireTLS: e.RequireTLS,
		Priority: e.Priority, Arrived: e.Arrived,
		DeliverBy: e.By.At, OrReturn: e.By.Return, TraceBy: e.By.Trace, HoldUntil: e.HoldUntil,
		Protocol: e.Client.Protocol, Helo: e.Client.Helo, Account: e.Client.Account,
	}
	if e.Client.Addr.IsValid() {
		v.Addr = e.Client.Addr.String()
	}
	return v
}

// QuotaStatus is how much of a daily quota is used.
type QuotaStatus struct {
	// Name is the route's, or "route/host".
	Name string `json:"name"`
	Used int    `json:"used"`
	Of   int    `json:"of"`
	// Until is when it begins anew, zero while there is some left.
	Until time.Time `json:"until,omitzero"`
}
