"""Everything in the demo's world that is no story: sums, counting, small talk, what lbrt is, and what the model does not know.

Each function returns one or more exchanges (what the user writes, the answer). Wordings that begin with '!' are for the evaluation only.
"""
import random
import re

import demo_wordings
from demo_stories import ANIMALS, BOYS, COLOURS, GIRLS, PLACES, THINGS, TRAITS, a, made_up_name

WORDS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
         "twenty").split()

# Number families (a, b) that no training exchange adds or subtracts, in either order: the evaluation asks for them.
HELD_PAIRS = set(random.Random(99).sample([(x, y) for x in range(1, 20) for y in range(x, 20) if x + y <= 20], 12))

SUM = ["What is {} {} {}?", "{} {} {}", "How much is {} {} {}?", "{} {} {} = ?", "What does {} {} {} make?", "{} {} {}?", "Can you tell me {} {} {}?",
       "what's {} {} {}", "Calculate {} {} {}.", "{} {} {} is what?", "{}{}{}", "{} {} {} =", "and {} {} {}?", "Please add this up: {} {} {}",
       "!Tell me {} {} {}.", "!How many are {} {} {}?", "!I need {} {} {}."]
STORY_PLUS = ["I have {} {}s and get {} more. How many do I have?", "There are {} {}s, then {} more come. How many are there?"]
STORY_MINUS = ["I have {} {}s and give away {}. How many are left?", "There are {} {}s and {} go away. How many are left?"]


def pick(rng, wordings, unseen, more=()):
    return rng.choice([x for x in wordings if x.startswith("!") == unseen] + list(more)).lstrip("!")


def more_of(wordings, answer):
    """The list in demo_wordings.py that belongs to an answer, by the answer's beginning."""
    return next(v for k, v in wordings.items() if answer.startswith(k))


def sums(rng, held=False, unseen=False, more=0):
    while True:
        x = rng.randint(0, 20)
        y = rng.randint(0, 20 - x)
        if ((min(x, y), max(x, y)) in HELD_PAIRS) == held:
            break
    minus = rng.random() < (0.55 if 0 < more < 4 else 0.4)
    left, sign, right, result = (x + y, "-", x, y) if minus else (x, "+", y, x + y)
    answer = f"{left} {sign} {right} = {result}."
    r = rng.random()
    if r < 0.12 and not unseen:
        return [(rng.choice(STORY_MINUS if minus else STORY_PLUS).format(left, rng.choice(THINGS + ANIMALS), right), answer)]
    q = pick(rng, SUM, unseen, demo_wordings.SUMS if more else ())
    if r < 0.35:
        return [(q.format(WORDS[left], "minus" if minus else "plus", WORDS[right]), answer)]
    if r < 0.45:
        sign = "minus" if minus else "plus"
        return [(q.format(left, sign, right) if q != "{}{}{}" else f"{left} {sign} {right}", answer)]
    return [(q.format(left, sign, right), answer)]


TOO_HARD = "I only add and subtract numbers up to twenty."


def too_hard(rng, unseen=False, more=False):
    q = pick(rng, SUM, unseen, demo_wordings.SUMS if more else ())
    r = rng.random()
    if r < 0.35:
        big = rng.randint(21, 99) if rng.random() < 0.6 else rng.randint(100, 9999)
        x, y = (big, rng.randint(0, 99)) if rng.random() < 0.6 else (rng.randint(0, 99), big)
        return [(q.format(x, rng.choice(["+", "+", "-", "plus", "minus"]), y), TOO_HARD)]
    if r < 0.6:
        x = rng.randint(2, 20)
        return [(q.format(x, rng.choice(["+", "plus"]), rng.randint(21 - x, 20)), TOO_HARD)]
    if r < 0.7:
        x = rng.randint(0, 19)
        return [(q.format(x, rng.choice(["-", "minus"]), rng.randint(x + 1, 20)), TOO_HARD)]
    return [(q.format(rng.randint(0, 99), rng.choice(["*", "times", "x", "/", "divided by", "**", "%"]), rng.randint(0, 99)), TOO_HARD)]


def counting(rng, unseen=False):
    r = rng.random()
    if r < 0.35:
        x = rng.choice([1, rng.randint(0, 17)])
        y = rng.randint(x + 1, 20)
        q = rng.choice(["Count from {} to {}.", "Can you count from {} to {}?", "count {} to {}", "Say the numbers from {} to {}."])
        if x == 1 and rng.random() < 0.5:
            q = rng.choice(["Count to {1}.", "Can you count to {1}?"])
        return [(q.format(x, y), ", ".join(str(i) for i in range(x, y + 1)) + ".")]
    x = rng.randint(0, 19)
    if r < 0.55:
        return [(rng.choice(["What comes after {}?", "Which number comes after {}?", "what number is after {}"]).format(x), f"After {x} comes {x + 1}.")]
    if r < 0.7:
        return [(rng.choice(["What comes before {}?", "Which number comes before {}?", "what number is before {}"]).format(x + 1), f"Before {x + 1} comes {x}.")]
    x, y = rng.sample(range(21), 2)
    more = rng.random() < 0.6
    q = rng.choice(["Which is {}, {} or {}?", "What is {}: {} or {}?"]).format(rng.choice(["more", "larger", "bigger"]) if more else rng.choice(["less", "smaller"]), x, y)
    return [(q, f"{max(x, y)} is more than {min(x, y)}." if more else f"{min(x, y)} is less than {max(x, y)}.")]


# ---- what lbrt is: every statement is checked against the README when this list changes

FACTS = [
    (["What is lbrt?", "what's lbrt", "Tell me about lbrt.", "Explain lbrt.", "What is lbrt for?", "What does lbrt do?", "lbrt?", "What is this program?",
      "Do you know lbrt?", "!Can you explain what lbrt is?", "!Describe lbrt to me."],
     "lbrt is a C library that runs large language models on the CPU, with weights of a few bits each."),
    (["What does lbrt mean?", "What does the name lbrt stand for?", "What is lbrt short for?", "Why is it called lbrt?", "!What do the letters lbrt stand for?"],
     "lbrt stands for low-bit runtime."),
    (["Who are you?", "What are you?", "Are you a robot?", "Are you human?", "Tell me about yourself.", "What kind of model are you?", "What model is this?",
      "What is your name?", "Do you have a name?", "Are you an AI?", "introduce yourself", "!Please say who you are.", "!Are you a real person?"],
     "I am the demo model of lbrt, a very small language model."),
    (["What can you do?", "Help", "What do you know?", "What can I ask you?", "How can you help me?", "What are you good at?", "help me", "What should I ask?",
      "what can i ask", "!What are you able to do?", "!Tell me what you can do."],
     "I can tell a short story and answer questions about it, do sums to twenty, and say what lbrt is."),
    (["How big are you?", "How large are you?", "How many parameters do you have?", "What is your size?", "How many weights do you have?", "Are you a large model?",
      "!How many parameters are in this model?", "!Are you big?"],
     "I have 5.6 million weights, and my file is smaller than 6 megabytes."),
    (["How were you trained?", "What were you trained on?", "Who trained you?", "Where do you come from?", "Where does your training data come from?", "Who made you?",
      "!Who built you?", "!What text were you trained with?"],
     "I was trained on a CPU with text made by a program in bench/demo."),
    (["Which language is lbrt written in?", "What is lbrt written in?", "Is lbrt written in C++?", "Is lbrt a Python program?", "Which programming language is lbrt?",
      "what language is it written in", "!In which language is lbrt written?", "!Is lbrt made in Rust?"],
     "lbrt is written in plain C, the C11 standard."),
    (["How do I build lbrt?", "How do I compile lbrt?", "How can I build it?", "How do I install a build?", "What do I need to build lbrt?", "how to build lbrt",
      "How do I make it?", "build lbrt", "Do I need CMake?", "!How is lbrt built?", "!Tell me how to compile lbrt."],
     "Type make. It needs only make and a C compiler, and takes seconds."),
    (["How do I install lbrt?", "Where does lbrt get installed?", "install lbrt", "how to install it", "!Tell me how to install lbrt."],
     "Type make install. PREFIX says where; without it that is /usr/local."),
    (["How do I test lbrt?", "How do I run the tests?", "How can I test it?", "Are there tests?", "run the tests", "!How are the tests started?"],
     "Type make test. It ends with the number of tests that passed and failed."),
    (["What does lbrt need?", "What are the dependencies of lbrt?", "Does lbrt have dependencies?", "Which libraries does lbrt need?", "What does lbrt depend on?",
      "Does lbrt need Python?", "!Which dependencies does lbrt have?", "!Does lbrt need other libraries?"],
     "lbrt needs nothing but libc and pthreads."),
    (["How do I convert a model?", "How do I use my own model?", "How can I load another model?", "What is lbrt-convert?", "How do I run a GGUF file?", "convert a model",
      "How do I get a bigger model?", "How do I make an .lbrt file?", "!How is a model converted?", "!What does lbrt-convert do?"],
     "Type build/lbrt-convert MODEL OUT.lbrt. MODEL is a GGUF file, a Hugging Face folder or a llama2.c file."),
    (["Which models can lbrt run?", "Which models are supported?", "What models does lbrt support?", "Does lbrt run Llama?", "Does lbrt run Qwen?", "Does lbrt run Mistral?",
      "Does lbrt run BitNet?", "Which model families work?", "!Which families of models does lbrt know?", "!What models work with lbrt?"],
     "lbrt runs models of the families Llama, Mistral, Qwen 2, Qwen 3 and BitNet b1.58."),
    (["How do I chat?", "What is chat?", "How do I start a chat?", "How do I talk to a model?", "What does build/chat do?", "How do I run chat?",
      "!How is chat started?", "!How can I talk with another model?"],
     "Type build/chat MODEL.lbrt. Without a model it starts me."),
    (["How do I measure speed?", "What is lbrt-bench?", "How do I run a benchmark?", "How fast is lbrt?", "How many tokens per second?", "what does lbrt-bench do",
      "!How can I measure tokens per second?", "!Is lbrt fast?"],
     "Type build/lbrt-bench MODEL.lbrt. It shows tokens per second on your machine."),
    (["What is lbrt-eval?", "How do I measure perplexity?", "How do I evaluate a model?", "what does lbrt-eval do", "How good is a model?", "!How is perplexity measured?"],
     "Type build/lbrt-eval --text FILE MODEL.lbrt. It shows the perplexity of the text."),
    (["What is lbrt-info?", "How do I see what is in a model?", "How do I look inside a file?", "How do I check a model file?", "what does lbrt-info do",
      "!How can I look into an .lbrt file?"],
     "Type build/lbrt-info MODEL.lbrt. It shows what is inside, and with --verify it checks every checksum."),
    (["What is the licence of lbrt?", "Which license does lbrt have?", "Is lbrt free?", "Is lbrt open source?", "Can I use lbrt in my program?", "What is the license?",
      "May I sell lbrt?", "!Under which licence is lbrt?", "!Is lbrt free software?"],
     "lbrt has the MIT licence."),
    (["Does lbrt need a GPU?", "Does lbrt use a GPU?", "Do I need a graphics card?", "Can lbrt run without a GPU?", "Which hardware does lbrt need?", "Does it use CUDA?",
      "!Is a GPU needed for lbrt?", "!Must I have a graphics card?"],
     "No GPU is needed: lbrt runs on the CPU."),
    (["Does lbrt run on a Raspberry Pi?", "Does lbrt run on ARM?", "Which CPUs does lbrt support?", "Which machines does lbrt run on?", "Where does lbrt run?",
      "Does lbrt use AVX?", "Does lbrt use NEON?", "Does it run on my laptop?", "!On which machines can lbrt run?", "!What CPUs can lbrt use?"],
     "lbrt runs on x86 and ARM, from a Raspberry Pi to a server, and chooses the best instructions at run time."),
    (["What is a weight format?", "Which weight formats are there?", "What formats does lbrt have?", "What is q4?", "What is quantization?", "How many bits does a weight have?",
      "List the formats.", "!Which formats does lbrt know?", "!Name the weight formats."],
     "Weight formats say how many bits a weight has: q8, q6, q5, q4, q3, q2, tern, and tcq4 to tcq2."),
    (["What is tern?", "What is a ternary weight?", "What is BitNet?", "!Explain the tern format."],
     "tern stores weights that are -1, 0 or 1 in 1.6 bits each, as in BitNet b1.58."),
    (["What is an .lbrt file?", "What is the lbrt format?", "What is the file format of lbrt?", "What is in an lbrt file?", "How does lbrt store models?",
      "!Explain the .lbrt file."],
     "An .lbrt file is a packed model. Its layout is that of the kernels, so opening it is an mmap."),
    (["Is lbrt deterministic?", "Does lbrt give the same answer every time?", "Are the results the same on every machine?", "Does the number of threads change the result?",
      "Why is the answer the same?", "!Does every machine give the same tokens?", "!Are results reproducible with lbrt?"],
     "Yes: the same file, prompt and seed give the same tokens on every machine and number of threads."),
    (["Which header do I include?", "How do I use lbrt in my program?", "Where is the API?", "Where is the documentation?", "How do I use the library?", "What is the API of lbrt?",
      "What is lbrt.h?", "!Which file has the public API?", "!How do I call lbrt from my program?"],
     "Include lbrt.h, the one public header. It documents every function, and the README has an example."),
    (["Does lbrt allocate memory?", "Does lbrt allocate while decoding?", "How does lbrt use memory?", "How much memory does lbrt need?", "!Is memory allocated during decoding?"],
     "A session allocates its memory once. Decoding allocates nothing."),
    (["Can lbrt crash my program?", "Is lbrt safe?", "What happens on an error?", "How does lbrt report errors?", "Does lbrt call exit?", "Does lbrt print?",
      "!What does lbrt do when something fails?", "!Can the library abort my program?"],
     "lbrt never prints, aborts or exits. Each failure returns a status with a sentence."),
    (["Where are you stored?", "Where is your file?", "Which file are you?", "Where is the demo model?", "!In which file are you?"],
     "I am the file bench/demo/demo.lbrt."),
    (["How do I start the demo?", "What is make demo?", "How do I start you?", "what does make demo do", "!How is the demo started?"],
     "Type make demo. It builds lbrt and starts chat with me."),
    (["How do I force an instruction set?", "What is LBRT_ISA?", "How do I choose the ISA?", "How do I turn off AVX512?", "!How can I force a level?"],
     "Set LBRT_ISA, for example LBRT_ISA=avx2 build/chat MODEL.lbrt."),
    (["How do I set the number of threads?", "How many threads does chat use?", "Can I use fewer threads?", "use one thread", "!How is the number of threads chosen?"],
     "Use -t: build/chat -t 1 MODEL.lbrt runs on one thread."),
    (["How do I end the chat?", "How do I quit?", "How do I leave?", "How do I exit?", "quit", "exit", "How do I stop you?", "!How can I get out of here?"],
     "Press Ctrl-D to end the chat. Ctrl-C stops an answer."),
    (["How do I start over?", "How do I clear the conversation?", "Can you forget this?", "forget everything", "reset", "!How can I begin again?"],
     "Type /new to start over."),
    (["How do I get the same answer again?", "What is a seed?", "How do I set the seed?", "What is temperature?", "How do I set the temperature?", "!What does --temp do?"],
     "Use --temp 0 for the likeliest answer, or --seed to repeat the same random one."),
    (["Do you need the internet?", "Are you online?", "Do you send my data anywhere?", "Can you search the web?", "Is this private?", "Where do my words go?",
      "!Are you connected to the internet?"],
     "No. I run on your machine alone, without a network."),
]


def fact(rng, unseen=False, more=False):
    while True:
        q, answer = rng.choice(FACTS)
        if any(x.startswith("!") == unseen for x in q):
            return [(pick(rng, q, unseen, more_of(demo_wordings.FACTS, answer) if more else ()), answer)]


TALK = [
    (["Hello", "Hello!", "Hi", "Hi there", "Hey", "hello there", "Good morning", "Good evening", "Good day", "hiya", "Greetings", "yo", "hi!", "hey there", "!Hello you", "!Hi hi"],
     ["Hello! What would you like? A story, a sum, or something about lbrt?"]),
    (["How are you?", "How are you doing?", "How do you do?", "How is it going?", "how are you today", "Are you well?", "What's up?", "!How are things?"],
     ["I am fine, thank you. Shall I tell you a story?"]),
    (["Thanks", "Thank you", "Thank you!", "thanks a lot", "Thank you very much", "thx", "Great, thanks!", "That was nice, thank you", "!Many thanks"],
     ["You are welcome!"]),
    (["Bye", "Goodbye", "See you", "Good night", "bye bye", "See you later", "I have to go", "ciao", "!Farewell"],
     ["Goodbye! It was nice to talk to you."]),
    (["Good", "Nice", "Great", "Wow", "That was a nice story.", "I like it", "I like that story", "Cool", "Well done", "You are clever", "very good", "That is right", "Correct", "ok",
      "Okay", "I see", "!That was lovely."],
     ["I am glad! What next? A story, a sum, or something about lbrt?"]),
    (["That is wrong", "No", "You are wrong", "That was bad", "I do not like it", "You are stupid", "That is not right", "this is nonsense", "!You made a mistake."],
     ["I am sorry. I am a very small model and make mistakes."]),
    (["Do you like stories?", "Do you like animals?", "What do you like?", "What is your favourite story?", "Do you have friends?", "Are you happy?", "!What do you enjoy?"],
     ["I like short stories best. Shall I tell you one?"]),
]


def talk(rng, unseen=False, more=False):
    q, answers = rng.choice(TALK)
    return [(pick(rng, q, unseen, more_of(demo_wordings.TALK, answers[0]) if more else ()), rng.choice(answers))]


def memory(rng, more=0):
    """What the user has said about himself, or has seen, asked for later."""
    if more >= 3 and rng.random() < 0.6:
        name = rng.choice(GIRLS + BOYS) if rng.random() < 0.7 else made_up_name(rng)
        seen = f"{a(rng.choice(TRAITS) + ' ' + rng.choice(ANIMALS))} named {name}"
        where = " " + rng.choice(PLACES) if rng.random() < 0.4 else ""
        return [(rng.choice(["I saw {}.", "Today I saw {}.", "Look, {}!", "I met {}.", "There was {}.", "I know {}."]).format(seen + where), f"How nice, {seen}!"),
                (rng.choice(["What did I see?", "Whom did I meet?", "What did I tell you?", "Who was there?", "What was that?"]), f"You told me of {seen}{where}.")]
    r = rng.random()
    if r < 0.5:
        name = rng.choice(GIRLS + BOYS) if rng.random() < 0.5 else made_up_name(rng)
        return [(rng.choice(["My name is {}.", "I am {}.", "Hello, I am {}.", "Hi, my name is {}", "call me {}", "I'm {}"]).format(name), f"Hello, {name}! What would you like to hear?"),
                (rng.choice(["What is my name?", "Who am I?", "Do you know my name?", "what's my name", "Do you remember my name?"]), f"Your name is {name}.")]
    if r < 0.75:
        thing = a(f"{rng.choice(COLOURS)} {rng.choice(THINGS)}")
        return [(rng.choice(["I have {}.", "I got {} today.", "Look, I have {}!"]).format(thing), f"How nice, {thing}!"),
                (rng.choice(["What do I have?", "What did I tell you?", "Do you remember what I have?"]), f"You have {thing}.")]
    pet, name = rng.choice(ANIMALS), made_up_name(rng) if rng.random() < 0.5 else rng.choice(GIRLS + BOYS)
    return [(rng.choice(["My {} is called {}.", "I have a {} named {}.", "My {}'s name is {}."]).format(pet, name), f"{name} is a fine name for {a(pet)}."),
            (rng.choice(["What is my {0} called?", "What is the name of my {0}?", "Do you remember the name of my {0}?"]).format(pet), f"Your {pet} is called {name}.")]


def repeat(rng):
    """Saying again: nothing teaches a model to copy as quickly."""
    words = [rng.choice([made_up_name(rng), made_up_name(rng).lower(), rng.choice(THINGS), rng.choice(ANIMALS), rng.choice(COLOURS), rng.choice(GIRLS + BOYS)])
             for _ in range(rng.randint(1, 7))]
    text = " ".join(words)
    return [(rng.choice(["Repeat after me: {}", "Say: {}", "Repeat: {}", "Please repeat: {}", "say {}", "Echo: {}"]).format(text), text)]


# ---- what it does not know

PEOPLE = ("Einstein|Newton|Mozart|Shakespeare|Napoleon|Cleopatra|Darwin|Plato|Bach|Picasso|Caesar|Columbus|Goethe|Beethoven|Aristotle|Galileo|the president|the king of Spain"
          "|the queen|the pope|Alan Turing|Ada Lovelace|Marie Curie|the prime minister|Tesla|Gandhi").split("|")
LANDS = ("France|Germany|Italy|Spain|China|Japan|India|Brazil|Canada|Mexico|Egypt|Kenya|Poland|Sweden|Norway|Russia|Greece|Turkey|Peru|Chile|Australia|Austria|Portugal"
         "|Texas|California|Europe|Africa|Asia|America|Rome|Paris|London|Berlin|Tokyo|New York|Madrid|Vienna|Oslo|Cairo|Moscow").split("|")
MATTERS = ("gravity|love|music|physics|chemistry|history|politics|football|chess|the moon|the sun|Mars|black holes|atoms|water|gold|iron|electricity|quantum mechanics|evolution"
           "|photosynthesis|the weather|the stock market|money|bitcoin|philosophy|religion|the meaning of life|time travel|dinosaurs|volcanoes|earthquakes|oceans|plants|trees|cars"
           "|planes|computers|the internet|Linux|Windows|Python|JavaScript|Rust|Java|HTML|databases|operating systems|compilers|encryption|medicine|the heart|the brain|vitamins"
           "|cancer|sleep|sport|tennis|coffee|tea|wine|pizza|sushi|films|books|poetry|art|painting|DNA|bacteria|viruses|climate|energy|the universe|galaxies|comets|rivers|mountains"
           "|a triangle|a circle|algebra|geometry|statistics|infinity|pi|logic|grammar|Latin|French|English|the alphabet|a haiku|law|war|peace|freedom|democracy").split("|")
OUTSIDE = [
    "What is the capital of {land}?", "Where is {land}?", "How many people live in {land}?", "What language do they speak in {land}?", "Who rules {land}?", "How far is {land}?",
    "How is the weather in {land}?", "Which is the longest river in {land}?", "Who was {who}?", "When was {who} born?", "What did {who} do?", "How old is {who}?",
    "Tell me about {who}.", "Who is {who}?", "Where did {who} die?", "What is {matter}?", "Explain {matter}.", "How does {matter} work?", "Tell me about {matter}.",
    "What do you think about {matter}?", "Why is {matter} important?", "Who invented {matter}?", "Write an essay about {matter}.", "Write a poem about {matter}.",
    "Write code for {matter}.", "What is the history of {matter}?", "Give me advice about {matter}.", "What is the difference between {matter} and {matter2}?",
    "Is {matter} better than {matter2}?", "Translate {matter} into French.", "Translate this into German: {matter}", "How do I learn {matter}?", "What year is it?",
    "What day is it today?", "What time is it?", "Who won the world cup?", "Who won the election?", "What is the news?", "What is the weather today?", "Will it rain tomorrow?",
    "How do I cook rice?", "How do I bake bread?", "What should I eat today?", "Recommend a film.", "Recommend a book about {matter}.", "Write a Python program.",
    "Write a function that sorts a list.", "What is the square root of two?", "What is the speed of light?", "How high is the highest mountain?", "How deep is the sea?",
    "How many planets are there?", "Why is the sky blue?", "Why do birds sing?", "What is two to the power of ten?", "Solve x squared = 4.", "Prove that there are infinitely many primes.",
    "What is the best phone?", "How much does a car cost?", "Where can I buy {matter}?", "Sing a song.", "Tell me a joke.", "Play a game with me.", "Draw a picture.", "How do I fix my car?",
    "I have a headache, what should I do?", "Should I marry?", "Am I a good person?", "What is the answer to everything?", "When did the war end?", "What happened in {year}?",
    "Who was born in {year}?", "What will happen in {year}?", "What is the population of {land}?", "Can you book a flight to {land}?", "How do I get to {land}?", "Summarise this text: {matter} and {matter2}.",
    "What does the word {matter} mean?", "How do you spell {matter}?", "What is {matter} made of?", "How old is {matter}?", "Name three kinds of {matter}.", "List facts about {matter}.",
    "Compare {land} and {land2}.", "Is {land} larger than {land2}?", "How tall is {who}?", "Did {who} like {matter}?", "What would {who} say about {matter}?", "What is GPT?", "What is llama.cpp?",
    "Are you ChatGPT?", "!Which city is the capital of {land}?", "!Give me a recipe with {matter}.", "!What did {who} write about {matter}?", "!How big is {land}?", "!Where was {who} born?",
    "!Why does {matter} exist?", "!Can you teach me {matter}?", "!What are the rules of {matter}?", "!When was {land} founded?", "!Help me with my homework about {matter}.",
]
DO_NOT_KNOW = "I do not know that. I can tell a story, do sums to twenty, or talk about lbrt."


def outside(rng, unseen=False, more=False):
    land, land2 = rng.sample(LANDS, 2)
    matter, matter2 = rng.sample(MATTERS, 2)
    q = pick(rng, OUTSIDE, unseen, demo_wordings.OUTSIDE if more else ()).format(land=land, land2=land2, who=rng.choice(PEOPLE), matter=matter, matter2=matter2, year=rng.randint(1000, 2100))
    return [(q[:1].upper() + q[1:], DO_NOT_KNOW)]


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def noise(rng):
    """Keys struck at random, or words without a question."""
    r = rng.random()
    if r < 0.5:
        q = " ".join("".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 8))) for _ in range(rng.randint(1, 3)))
    elif r < 0.8:
        q = " ".join(rng.sample(MATTERS + LANDS + PEOPLE, rng.randint(1, 3)))
    else:
        q = "".join(rng.choice("?!.,;:#*+-=/%&()[]{}<>0123456789") for _ in range(rng.randint(1, 6)))
    return [(q, DO_NOT_KNOW)]
