"""The chat of `troupe run MODEL`: turns with their history, several lines, Ctrl-C, commands."""
import os
import re
import signal

import harness
from terminal import Terminal

SYSTEM = "You answer in one short sentence."


def test_chat_of_three_turns_with_an_interruption(alone):
    terminal = Terminal(alone, "run", harness.MODEL, "-n", "400", "--temperature", "1.0")
    terminal.read_until(">>> ")
    terminal.write("My name is Ada.\n")
    first = terminal.read_until(">>> ")
    assert "tokens/s" in first
    terminal.write("Tell me \\\n")
    terminal.read_until(r"\.\.\. ")
    terminal.write("a very long story.\n")
    terminal.read_until(r"story\.\r\n.{20,}?")
    terminal.write("\x03")  # Ctrl-C stops the answer
    terminal.read_until("stopped.*>>> ", 10)
    terminal.write('"""What is\nmy name?"""\n')
    third = terminal.read_until("tokens read.*>>> ")
    tokens = int(re.search(r"(\d+) tokens read", third)[1])
    assert tokens > 60, "the third turn reads the conversation before it"
    terminal.write("\x03")  # at the prompt, Ctrl-C does not end the chat
    terminal.read_until("/bye.*>>> ", 10)
    terminal.write("/exit\n")
    assert terminal.end() == 0


def test_chat_ends_at_the_end_of_input(alone):
    outcome = alone.troupe("run", harness.MODEL, "-n", 5, input="Hello\n\nAgain\n")
    assert outcome.status == 0
    assert outcome.err.count("tokens/s, ") == 4, outcome.err  # two turns, two rates each
    assert outcome.err.count("answer ended at -n 5 tokens") == 2, outcome.err
    assert "plain text" not in outcome.err
    assert alone.troupe("run", harness.MODEL, input="").status == 0


def test_terminated_chat(alone):
    """SIGTERM ends a chat, also in the middle of an answer."""
    for busy in (False, True):
        terminal = Terminal(alone, "run", harness.MODEL, "-n", "400", "--temperature", "1.0")
        terminal.read_until(">>> ")
        if busy:
            terminal.write("Tell me a very long story.\n")
            terminal.read_until(r"story\.\r\n.{20,}?")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.end() == 143


def rendered(turns):
    """What the model's own template makes of a conversation, up to the next answer."""
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + (
        "<|im_start|>assistant\n")


def test_history_is_what_run_would_be_given(alone):
    """Each turn's text is that of `run --raw` with the conversation before it, written out."""
    questions = ["My name is Ada.", "What is\nmy name?", "And what is two plus two?"]
    turns, answers = [("system", SYSTEM)], []
    for question in questions:
        turns.append(("user", question))
        answers.append(alone.json("run", harness.MODEL, "--raw", "-n", 24, rendered(turns))["text"])
        turns.append(("assistant", answers[-1]))
    typed = questions[0] + "\n" + '"""What is\nmy name?"""\n' + questions[2] + "\n"
    outcome = alone.troupe("run", harness.MODEL, "--system", SYSTEM, "-n", 24, input=typed)
    assert outcome.status == 0
    assert outcome.out == "".join(answer + "\n" for answer in answers), str(outcome)
    # A backslash at the end of a line is the other way to write two lines.
    again = alone.troupe("run", harness.MODEL, "--system", SYSTEM, "-n", 24,
                         input=typed.replace('"""What is\nmy name?"""', "What is\\\nmy name?"))
    assert again.out == outcome.out
    # After /clear, no earlier question comes before the second one; the system message stays.
    alone_text = alone.json("run", harness.MODEL, "--raw", "-n", 24,
                            rendered([("system", SYSTEM), ("user", questions[2])]))["text"]
    for word in ("/clear", "/reset"):
        cleared = alone.troupe("run", harness.MODEL, "--system", SYSTEM, "-n", 24,
                               input=f"{questions[0]}\n{word}\n{questions[2]}\n")
        assert cleared.out == answers[0] + "\n" + alone_text + "\n", str(cleared)


def test_commands_in_a_terminal(alone):
    terminal = Terminal(alone, "run", harness.MODEL, "-n", "8")
    greeting = terminal.read_until(">>> ")
    assert "/bye" in greeting and '"""' in greeting
    terminal.write("/help\n")
    assert "Ctrl-C" in terminal.read_until("Ctrl-D ends.*>>> ")
    terminal.write("/nonsense\n")
    terminal.read_until("there is no command /nonsense.*>>> ")
    terminal.write("Hello\n")
    first = terminal.read_until("tokens read.*>>> ")
    terminal.write("/reset\n")
    terminal.read_until("begins anew.*>>> ")
    terminal.write("Hello\n")
    second = terminal.read_until("tokens read.*>>> ")
    read = [re.search(r"(\d+) tokens read", text)[1] for text in (first, second)]
    assert read[0] == read[1], "the conversation was forgotten"
    terminal.write("half a line\x03")  # Ctrl-C forgets what was typed
    terminal.read_until("/bye.*>>> ", 10)
    terminal.write('"""two\n')
    terminal.read_until(r"\.\.\. ")
    terminal.write("\x03")
    terminal.read_until(">>> ", 10)
    terminal.write("/bye\n")
    assert terminal.end() == 0


def test_ctrl_d_ends(alone):
    terminal = Terminal(alone, "run", harness.MODEL, "-n", "8")
    terminal.read_until(">>> ")
    terminal.write("\x04")
    assert terminal.end() == 0


def test_ctrl_c_keeps_what_was_answered(alone):
    """The next turn reads the answer as far as it came."""
    terminal = Terminal(alone, "run", harness.MODEL, "-n", "400", "--temperature", "1.0")
    terminal.read_until(">>> ")
    terminal.write("Tell me a very long story.\n")
    terminal.read_until(r"story\.\r\n.{60,}?")
    terminal.write("\x03")
    stopped = terminal.read_until("tokens read.*>>> ", 10)
    read, written = map(int, re.search(r"(\d+) tokens read.*?(\d+) written", stopped).groups())
    terminal.write("Go on.\n")
    terminal.read_until(r"on\.\r\n.{20,}?")
    terminal.write("\x03")
    second = terminal.read_until("tokens read.*>>> ", 10)
    assert int(re.search(r"(\d+) tokens read", second)[1]) > read + written
    terminal.write("/bye\n")
    assert terminal.end() == 0
