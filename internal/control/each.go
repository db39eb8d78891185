package control

import (
	"context"
	"slices"
	"strings"

	"restante/internal/mail"
	"restante/spool"
)

// page is how many tasks EachMessage asks for at a time: no answer has to wait
// for what is done with it.
const page = 500

// EachMessage calls f for each message that IDs name or, if there are none, that
// has a task which a filter lets through, by ID. tasks are those that are meant;
// nil is all. An error of f ends it.
func (c *Client) EachMessage(ctx context.Context, ids []string, filter Filter, f func(id mail.ID, tasks []spool.TaskID) error) error {
	if len(ids) > 0 {
		return eachNamed(ctx, ids, f)
	}
	l := Listing{Filter: filter, Limit: page}
	var tasks []spool.TaskID // of one message
	for {
		n := 0
		// What has come is read to its end before anything is done with it.
		var list []spool.TaskID
		for t, err := range c.List(ctx, l) {
			if err != nil {
				return err
			}
			list = append(list, t.ID)
		}
		for _, id := range list {
			if len(tasks) > 0 && tasks[0].Message != id.Message {
				if err := one(ctx, tasks[0].Message, tasks, f); err != nil {
					return err
				}
				tasks = nil
			}
			tasks = append(tasks, id)
			n++
		}
		if n < page {
			break
		}
		l.After = list[n-1]
	}
	if len(tasks) == 0 {
		return nil
	}
	return one(ctx, tasks[0].Message, tasks, f)
}

func one(ctx context.Context, id mail.ID, tasks []spool.TaskID, f func(mail.ID, []spool.TaskID) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f(id, tasks)
}

// eachNamed puts the tasks of a message together.
func eachNamed(ctx context.Context, ids []string, f func(mail.ID, []spool.TaskID) error) error {
	var order []mail.ID
	tasks := make(map[mail.ID][]spool.TaskID)
	whole := make(map[mail.ID]bool)
	for _, text := range ids {
		text = strings.ToUpper(text)
		if strings.Contains(text, ".") {
			id, err := spool.ParseTaskID(text)
			if err != nil {
				return &Error{Message: err.Error(), Code: CodeBadRequest}
			}
			order, tasks[id.Message] = append(order, id.Message), append(tasks[id.Message], id)
			continue
		}
		id, err := mail.ParseID(text)
		if err != nil {
			return err
		}
		order, whole[id] = append(order, id), true
	}
	slices.SortFunc(order, func(a, b mail.ID) int { return strings.Compare(a.String(), b.String()) })
	for _, id := range slices.Compact(order) {
		meant := tasks[id]
		if whole[id] {
			meant = nil
		}
		if err := one(ctx, id, meant, f); err != nil {
			return err
		}
	}
	return nil
}
