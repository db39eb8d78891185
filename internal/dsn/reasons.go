package dsn

import (
	"strings"

	"restante/internal/mail"
)

// reason is what a status means, for people.
type reason struct {
	// short is a few words for the subject, why a sentence, todo what the
	// sender can do about it.
	short, why, todo string
}

// What the sender can do.
const (
	checkAddress = "Check the address. If it was wrong, send the message again to the right one."
	otherMeans   = "Tell the recipient by other means, or send the message again later."
	smaller      = "Send a smaller message, or give what is in it by other means, such as a link."
	askThem      = "Ask the recipient, by other means, to have their postmaster look at the words below."
	askUs        = "Forward this report to the postmaster of your own mail system: it is for them to mend."
	rewriteIt    = "Look at what you sent: attachments, links and wording. If nothing is wrong with it, ask the recipient, by other means, to have it let through."
)

// key is subject and detail of an enhanced status code (RFC 3463). Detail 0 is
// for all of a subject that have no row of their own.
type key [2]int

// Keys that are needed by name.
var (
	unknownUser = key{1, 1}
	mailboxFull = key{2, 2}
	tooLarge    = key{3, 4}
	timeIsOver  = key{4, 7}
	byRules     = key{7, 1}
)

// Reasons that have no code of their own.
var (
	unclear = reason{"refused", "The recipient's mail system gave the reason below.", askThem}
	untried = reason{"not tried yet", "Its turn has not come yet, or no attempt could be made.", otherMeans}
	spam    = reason{"taken for spam", "The recipient's mail system takes the message, or where it came from, for unwanted mail.", rewriteIt}
	waiting = reason{"asked to wait", "The recipient's mail system lets unknown senders wait for a while, to keep unwanted mail away.", otherMeans}
)

// reasons follow RFC 3463 and the registry of RFC 5248.
var reasons = map[key]reason{
	{1, 0}:      {"address refused", "The address was not accepted.", checkAddress},
	unknownUser: {"no such mailbox", "There is no mailbox of that name.", checkAddress},
	{1, 2}:      {"no such domain", "The domain of the address does not exist, or has no mail system.", checkAddress},
	{1, 3}:      {"malformed address", "The address is not written as an address should be.", checkAddress},
	{1, 4}:      {"ambiguous address", "The address may mean more than one mailbox.", checkAddress},
	{1, 6}:      {"mailbox has moved", "The mailbox has moved and left no address.", "Ask the recipient for the new address."},
	{1, 7}:      {"sender refused", "The recipient's mail system did not accept your own address.", askUs},
	{1, 8}:      {"sender refused", "The recipient's mail system cannot find the domain of your own address.", askUs},
	{1, 10}:     {"domain takes no mail", "The domain of the address takes no mail at all.", checkAddress},

	{2, 0}:      {"mailbox trouble", "There is trouble with the recipient's mailbox.", otherMeans},
	{2, 1}:      {"mailbox disabled", "The recipient's mailbox is switched off.", "Ask the recipient for another address."},
	mailboxFull: {"mailbox full", "The recipient's mailbox is full.", otherMeans},
	{2, 3}:      {"message too large", "The message is larger than the recipient may get.", smaller},
	{2, 4}:      {"list trouble", "The address is a list, and there is trouble with that.", "Tell the owner of the list."},

	{3, 0}:   {"mail system trouble", "There is trouble with the recipient's mail system.", otherMeans},
	{3, 1}:   {"mail system full", "The recipient's mail system has no room left.", otherMeans},
	{3, 2}:   {"mail system closed", "The recipient's mail system takes no mail at the moment.", otherMeans},
	tooLarge: {"message too large", "The message is too large for the recipient's mail system.", smaller},

	{4, 0}:     {"mail system not reached", "The recipient's mail system could not be reached.", otherMeans},
	{4, 1}:     {"mail system not reached", "The recipient's mail system does not answer.", otherMeans},
	{4, 2}:     {"connection broke off", "The connection to the recipient's mail system broke off.", otherMeans},
	{4, 3}:     {"name not found", "The name of the recipient's mail system could not be looked up.", otherMeans},
	{4, 4}:     {"no way there", "There is no way to the recipient's mail system.", checkAddress},
	{4, 5}:     {"mail system busy", "The recipient's mail system has too much to do.", otherMeans},
	{4, 6}:     {"mail loop", "The message goes round in a circle between mail systems.", askThem},
	timeIsOver: {"not delivered in time", "It could not be delivered within the time allowed.", otherMeans},

	{5, 0}: {"not understood", "The two mail systems did not understand each other.", askUs},
	{5, 3}: {"too many recipients", "The message has more recipients than the recipient's mail system takes at once.", "Send it to fewer recipients at a time."},

	{6, 0}: {"kind of message", "The recipient's mail system cannot take the kind of message this is.", askThem},
	{6, 7}: {"beyond ASCII", "The recipient's mail system cannot take addresses or headers with letters beyond ASCII.", "Write to another address of the recipient, from one of yours, both in plain ASCII."},

	{7, 0}:  {"refused by rules", "The recipient's mail system refused the message by its rules.", askThem},
	byRules: {"refused by rules", "The recipient's mail system does not take this message from you.", askThem},
	{7, 2}:  {"not from you", "The address is a list that does not take mail from you.", "Ask the owner of the list."},
	{7, 8}:  {"login refused", "The next mail system on the way did not accept our login.", askUs},
	{7, 10}: {"encryption needed", "The recipient's mail system takes mail only over an encrypted connection, and there was none.", askUs},
	{7, 11}: {"encryption needed", "The recipient's mail system takes mail only over an encrypted connection, and there was none.", askUs},
	{7, 13}: {"account disabled", "The next mail system on the way has switched off our account.", askUs},
	{7, 20}: {"sender not proven", "The recipient's mail system wants mail from you to be signed, and found no signature that holds.", askUs},
	{7, 23}: {"sender not proven", "By your domain's own record (SPF), mail from you may not come this way.", askUs},
	{7, 25}: {"sender not proven", "The recipient's mail system mistrusts the name of ours.", askUs},
	{7, 26}: {"sender not proven", "The recipient's mail system could not make sure that the message is from you.", askUs},
	{7, 27}: {"sender refused", "The domain of your own address takes no mail, so nobody could answer you.", askUs},
	{7, 28}: {"too much mail", "There was too much mail from here, or from you, in a short time.", otherMeans},
	{7, 30}: {"encryption needed", "The message asked for an encrypted way all along, and there is none.", "Send it without that wish, or tell the recipient by other means."},
}

// same are codes that mean what another row says.
var same = map[key]key{
	{1, 5}: {1, 0}, {1, 9}: {1, 0}, {3, 3}: {6, 0}, {3, 5}: {3, 0},
	{7, 21}: {7, 20}, {7, 22}: {7, 20}, {7, 24}: {7, 23}, {7, 29}: {7, 26},
	{6, 9}: {6, 7}, {6, 10}: {6, 7}, {7, 9}: {7, 8},
}

// hints are words by which next hops say what their codes do not.
var hints = []struct {
	words string
	// subject is that of the vague codes that they explain; 0 is any.
	subject int
	means   reason
}{
	{"greylist", 0, waiting}, {"graylist", 0, waiting}, {"grey list", 0, waiting}, {"gray list", 0, waiting},
	{"over quota", 2, reasons[mailboxFull]}, {"mailbox full", 2, reasons[mailboxFull]}, {"mailbox is full", 2, reasons[mailboxFull]},
	{"spam", 7, spam}, {"blocked using", 7, spam}, {"blocklist", 7, spam}, {"blacklist", 7, spam}, {"reputation", 7, spam},
	{"user unknown", 1, reasons[unknownUser]}, {"unknown user", 1, reasons[unknownUser]},
	{"no such user", 1, reasons[unknownUser]}, {"does not exist", 1, reasons[unknownUser]},
}

// reasonOf explains a status: by its words where its code is vague, by its
// enhanced code, or else by its reply code (RFC 5321 section 4.2.3).
func reasonOf(s mail.Status) reason {
	e := s.EnhancedOrDefault()
	k := key{e[1], e[2]}
	if other, ok := same[k]; ok {
		k = other
	}
	if k[1] == 0 || k == byRules {
		text := strings.ToLower(s.Text)
		for _, h := range hints {
			if (k[0] == 0 || h.subject == 0 || h.subject == k[0]) && strings.Contains(text, h.words) {
				return h.means
			}
		}
	}
	if r, ok := reasons[k]; ok {
		return r
	}
	if r, ok := reasons[key{k[0], 0}]; ok {
		return r
	}
	return byCode(s.Code)
}

// byCode explains a reply without an enhanced code.
func byCode(code int) reason {
	switch code {
	case 0:
		return untried
	case 421, 450, 451:
		return reasons[key{3, 0}]
	case 452:
		return reasons[key{3, 1}]
	case 530, 535:
		return reasons[key{7, 8}]
	case 551:
		return reasons[key{1, 6}]
	case 552:
		return reasons[tooLarge]
	case 553:
		return reasons[key{1, 0}]
	case 556:
		return reasons[key{1, 10}]
	case 500, 501, 502, 503, 504, 555:
		return reasons[key{5, 0}]
	}
	return unclear
}

// reason explains what became of a recipient. Of one whose time is over it says
// too what kept him from the message.
func (r Recipient) reason() reason {
	is := reasonOf(r.Status)
	e := r.Status.EnhancedOrDefault()
	if (key{e[1], e[2]}) != timeIsOver || r.Said.Code == 0 || r.Said == r.Status {
		return is
	}
	was := reasonOf(r.Said)
	return reason{is.short, is.why + " At the last attempt: " + strings.ToLower(was.why[:1]) + was.why[1:], was.todo}
}
