"""Short stories from a grammar, and questions about each with the answers that its words give.

Templates: {slot} is filled, (a|b|c) picks one. A question that begins with '!' is asked in the evaluation only.
"""
import re

import demo_wordings

GIRLS = "Mia Anna Lily Emma Zoe Ruby Nora Clara Lucy Ella Ivy Rosa Tilda Maya Sara Lena Daisy Holly Nina Greta Alma Hanna Jane Kira Olga".split()
BOYS = "Tom Ben Max Leo Sam Jack Finn Otto Paul Hugo Oscar Emil Noah Theo Ned Carl Luke Adam Toby Ravi Omar Ivan Felix Anton Mats".split()
PETS_F = "Pip Luna Bella Dot Mimi Coco Flora Pearl Misty Poppy Tilly Hazel Fern Wren Suki".split()
PETS_M = "Bo Rex Bruno Buddy Rusty Moss Tuck Gus Bramble Pebble Otis Chip Dash Duke Milo".split()
ANIMALS = ("fox bear rabbit mouse owl cat dog duck frog hedgehog squirrel badger deer horse goat sheep pig cow hen goose swan crow robin turtle "
           "snail bee ant butterfly wolf lion tiger elephant monkey giraffe zebra penguin seal whale dolphin fish crab dragon otter beaver mole bat "
           "donkey camel kangaroo koala panda parrot pony puppy kitten lamb chick sparrow lizard spider").split()
FOLK_F = "princess queen witch mermaid fairy grandmother nun".split()
FOLK_M = "prince king wizard knight grandfather giant monk".split()
FOLK = ("pirate farmer baker teacher doctor robot ghost monster soldier sailor gardener dinosaur snake shark unicorn elf troll alien astronaut vampire painter "
        "miller tailor thief hunter cook singer scientist dwarf").split()
THINGS = ("kite ball hat boat drum bell book lamp key cup scarf coat shoe ring doll train wagon flute whistle basket blanket umbrella lantern map "
          "clock mirror box bag spoon pillow button glove mitten bucket balloon bike sled cart puzzle necklace coin stone shell feather flag rope "
          "ladder chair robot painting guitar violin telescope compass crown cap "
          "car tractor computer phone pen pencil ship plane sword letter jar plate truck bus hammock tent carpet candle broom camera").split()
COLOURS = "red blue green yellow white black brown orange purple pink golden silver grey".split()
TRAITS = "kind brave shy curious clever gentle cheerful quiet lonely funny careful busy little young friendly lazy proud".split()
PLACES = ("by a lake|near a river|on a farm|in a forest|in a small village|on a hill|by the sea|in a garden|in a valley|near a castle|in a big city"
          "|on an island|in a meadow|under an old oak|in a cave|near a mill|in a tall tower|at the edge of a wood|in a cottage|beside a pond"
          "|on a mountain|in a desert|near a bridge|in a barn").split("|")
SPOTS = ("under a bench|behind a rock|in a tree|under the bed|behind the door|in the tall grass|beside the well|under a bush|on the roof|in an old boot"
         "|by the gate|in a nest|under a bridge|behind the barn|in a hollow log|on the beach|near the stairs|in the mud|under the table|by the fence").split("|")
FOODS = "bread|soup|apples|cake|honey|berries|nuts|cheese|pears|cookies|carrots|pie|corn|plums|pancakes|cherries".split("|")
FEELINGS = "happy|proud|glad|calm|thankful|safe|full of joy".split("|")
SKILLS = "swim|dance|sing|whistle|skate|climb|read|paint|juggle|cook|fish|ride a bike|tell the time|make a fire|count".split("|")
SHELTERS = "a cave|an old barn|a hollow tree|a small hut|a tent|a dry ditch|a boat house|a church|a mill".split("|")
TOOLS = "glue|string|a needle|a hammer|tape|a nail|wire|a bit of wood|wax".split("|")
TRAPS = "a net|a deep hole|the mud|a tall tree|a thorn bush|an empty well|a cage|the ice".split("|")
PULLS = "a rope|a long stick|a ladder|a branch|a spade|a scarf".split("|")
MATERIALS = "logs|stones|planks|reeds|branches|old boxes".split("|")
GUIDES = "a bright star|the sound of a bell|the smell of soup|the light of a lamp|a trail of feathers|the song of a bird|the moon|a row of stones".split("|")
WEATHER = "fog|rain|snow|dark|wind".split("|")
GOALS = "the old oak|the bridge|the mill|the top of the hill|the big rock|the gate|the lake|the red barn".split("|")
LESSONS = ("a friend is worth more than gold|it is good to ask for help|sharing makes two happy|being brave is not being without fear|patience helps"
           "|small friends can do great things|it pays to try again|kindness comes back").split("|")


def fill(rng, text, slots):
    """Picks the alternatives, then fills the slots; a sentence may begin with a slot, so its first letter is made large."""
    while True:
        m = re.search(r"\(([^()]*)\)", text)
        if not m:
            break
        text = text[:m.start()] + rng.choice(m.group(1).split("|")) + text[m.end():]
    text = re.sub(r"\{(\w+)\}", lambda m: slots[m.group(1)], text)
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def made_up_name(rng):
    """Names nobody has: the model must copy them, not know them."""
    syllables = "ba be bo da do du ka ki ko la le li lo ma mi mo na ne no pa pi ra ri ro sa se so ta te ti to va vi za zo fa fi ga go ha".split()
    return ("".join(rng.choice(syllables) for _ in range(rng.randint(2, 3))) + rng.choice(["", "", "n", "r", "s", "x"])).capitalize()


# Each plot: sentences (a list of templates; each is one or two sentences), what it is about, and questions [(phrasings, answer)].
PLOTS = {
    "lost": (["(One day|One morning|One evening) {name} lost {athing}.|One day {name} could not find {athing}. It was lost.",
              "{He} looked {spot2} and {spot3}, but it was not there.|{He} looked {spot2}, but it was not there.",
              "Then {friend} came and helped. They found the {thing} {spot}.|Then {friend} said: \"I will help you.\" Together they found the {thing} {spot}."],
             "(someone who lost {athing}|a lost {thing}|{athing} that was lost)",
             [(["What did {name} lose?", "What was lost?", "what thing did {name} lose", "What could {name} not find?", "!Which thing was lost in the story?"], "{name} lost {athing}."),
              (["Where was the {thing}?", "Where did they find the {thing}?", "Where was the {thing} found?", "!In what place did they find the {thing}?"], "They found the {thing} {spot}."),
              (["What colour was the {thing}?", "Which colour did the {thing} have?", "What color was the {thing}?", "!Tell me the colour of the {thing}."], "The {thing} was {colour}."),
              (["Who helped {name}?", "Who came to help?", "Who helped to find the {thing}?", "!Who was it that helped {name}?"], "{friend} helped {name}."),
              (["What was the problem?", "What went wrong?", "!What was wrong in the story?"], "{name} lost {athing}.")]),
    "broken": (["(One day|One morning) {name} fell, and {his} {colour} {thing} broke.|One day {his} {colour} {thing} broke.",
                "{name} was very sad and sat down {spot}.",
                "Then {friend} came by with {tool} and mended the {thing}.|{friend} saw it, took {tool} and mended the {thing}."],
               "(a broken {thing}|{athing} that broke|someone whose {thing} broke)",
               [(["What broke?", "What did {name} break?", "Which thing broke?", "!What thing was broken?"], "The {colour} {thing} broke."),
                (["Who mended the {thing}?", "Who fixed the {thing}?", "Who helped {name}?", "!Who was it that mended the {thing}?"], "{friend} mended the {thing}."),
                (["How was the {thing} mended?", "What was the {thing} mended with?", "What did {friendname} use?", "!With what did {friendname} mend the {thing}?"], "{friendname} mended the {thing} with {tool}."),
                (["Where did {name} sit down?", "Where did {name} sit?", "!In what place did {name} sit down?"], "{name} sat down {spot}."),
                (["What colour was the {thing}?", "Which colour did the {thing} have?", "What color was the {thing}?", "!Tell me the colour of the {thing}."], "The {thing} was {colour}.")]),
    "storm": (["(One day|One night|One evening) a (big|great|wild) storm came. {name} ran and hid in {shelter}.",
               "There {he} met {friend}, who was afraid too.|In there sat {friend}, who was cold and wet.",
               "They shared {food} and waited until the storm was over.|They ate {food} together and told jokes until the sun came out."],
              "(a storm|a big storm|a night of wind and rain)",
              [(["Where did {name} hide?", "Where did {name} go in the storm?", "Where did {name} run?", "!In what place did {name} hide?"], "{name} hid in {shelter}."),
               (["Who did {name} meet?", "Whom did {name} meet in the storm?", "Who was there?", "!Who was it that {name} met?"], "{name} met {friend}."),
               (["What did they eat?", "What did they share?", "What food did they share?", "!What was there to eat?"], "They shared {food}."),
               (["What was the problem?", "What came one day?", "Why did {name} hide?", "!What was wrong in the story?"], "A storm came.")]),
    "stuck": (["(One day|One morning) {name} heard a cry. {friend} was stuck in {trap}!|One day {friend} got stuck in {trap} and called for help.",
               "{name} ran (home|to the village|away) and came back with {pull}.|{name} found {pull} {spot}.",
               "{He} pulled and pulled, and at last {friendname} was free."],
              "(someone who got stuck|{afriend} that was stuck|helping a friend)",
              [(["Who was stuck?", "Who got stuck?", "Who called for help?", "!Who was it that got stuck?"], "{friend} was stuck."),
               (["Where was {friendname} stuck?", "What was {friendname} stuck in?", "Where did {friendname} get stuck?", "!In what place was {friendname} stuck?"], "{friendname} was stuck in {trap}."),
               (["How did {name} help?", "What did {name} use?", "What did {name} bring?", "!With what did {name} help?"], "{name} helped with {pull}."),
               (["Who helped {friendname}?", "Who saved {friendname}?", "!Who was it that helped {friendname}?"], "{name} helped {friendname}.")]),
    "share": (["(One day|One morning) {name} found a basket of {food} {spot}.",
               "On the way home {he} met {friend}, who was very hungry.|Then {friend} came along, hungry and tired.",
               "{name} did not keep the {food}. They sat down and shared it all.|{name} gave half of the {food} away, and they ate together."],
              "(sharing|someone who found {food}|{food})",
              [(["What did {name} find?", "What was in the basket?", "What did they eat?", "What food was it?", "!What was there to eat?"], "{name} found {food}."),
               (["Where was the basket?", "Where did {name} find the {food}?", "Where was the {food}?", "!In what place did {name} find the {food}?"], "{name} found the {food} {spot}."),
               (["Who was hungry?", "Who did {name} meet?", "Who ate with {name}?", "!Who was it that was hungry?"], "{friend} was hungry."),]),
    "bridge": (["(One day|One morning) {name} wanted to visit {friend}, but the bridge was gone.",
                "So {he} took {material} and built a new one. It took (all day|two days|three days|a week).",
                "{friendname} cheered on the other side and gave {him} {food}."],
               "(a bridge|building a bridge|a new bridge)",
               [(["What was the problem?", "What was gone?", "What went wrong?", "!What was wrong in the story?"], "The bridge was gone."),
                (["What was the bridge made of?", "What did {name} use?", "How did {name} build the bridge?", "!With what did {name} build the bridge?"], "{name} built the bridge from {material}."),
                (["Who did {name} want to visit?", "Who lived on the other side?", "Who cheered?", "!Who was it that {name} wanted to visit?"], "{name} wanted to visit {friend}."),
                (["What did {friendname} give {name}?", "What did {name} get?", "!What was given to {name}?"], "{friendname} gave {name} {food}.")]),
    "gift": (["It was the birthday of {friend}. {name} had no money for a gift.",
              "So {he} made {athing} with {tool}. It took a whole (day|night|week).|So {he} took {tool} and made {athing}.",
              "{friendname} loved the {thing} and (hugged|thanked) {him}.|{friendname} had never had such a fine {thing}."],
             "(a birthday|a gift|{athing} as a gift|a birthday gift)",
             [(["Whose birthday was it?", "Who had a birthday?", "Who got a gift?", "!Who was it that had a birthday?"], "It was the birthday of {friend}."),
              (["What did {name} make?", "What was the gift?", "What did {friendname} get?", "!Which thing did {name} make?"], "{name} made {athing}."),
              (["What colour was the {thing}?", "Which colour did the {thing} have?", "What color was the {thing}?", "!Tell me the colour of the {thing}."], "The {thing} was {colour}."),
              (["How was the {thing} made?", "What did {name} use?", "!With what did {name} make the {thing}?"], "{name} made the {thing} with {tool}.")]),
    "race": (["(One day|One morning) {name} and {friend} had a race to {goal}.",
              "Half way {friendname} fell {spot}. {name} could have won, but {he} stopped and helped.",
              "They walked to {goal} side by side, and both of them won.|They came to {goal} together, laughing."],
             "(a race|two friends in a race|running)",
             [(["Where did they race to?", "Where did the race end?", "What was the goal?", "!To what place did they race?"], "They raced to {goal}."),
              (["Who fell?", "Who fell in the race?", "Who raced with {name}?", "!Who was it that fell?"], "{friend} fell."),
              (["Where did {friendname} fall?", "!In what place did {friendname} fall?"], "{friendname} fell {spot}."),
              (["Who won?", "Who won the race?", "!Who was it that won?"], "Both of them won.")]),
    "treasure": (["(One day|One morning) {name} found an old key {spot}. What did it open?",
                  "{He} asked {friend}, who knew of a box {spot2}.|{friend} showed {him} a box {spot2}.",
                  "The key fit! In the box was {athing}.|They turned the key, and in the box they saw {athing}."],
                 "(a treasure|an old key|a secret box|{athing} in a box)",
                 [(["What did {name} find?", "What did {name} find first?", "!Which thing did {name} find?"], "{name} found an old key."),
                  (["Where was the key?", "Where did {name} find the key?", "!In what place did {name} find the key?"], "{name} found the key {spot}."),
                  (["What was in the box?", "What did they see in the box?", "What was the treasure?", "!Which thing was in the box?"], "In the box was {athing}."),
                  (["Where was the box?", "!In what place was the box?"], "The box was {spot2}."),
                  (["Who helped {name}?", "Who knew of the box?", "!Who was it that knew of the box?"], "{friend} knew of the box."),
                  (["What colour was the {thing}?", "What color was the {thing}?", "!Tell me the colour of the {thing}."], "The {thing} was {colour}.")]),
    "way": (["(One day|One evening) {name} went out to look for {food} and lost {his} way in the {weather}.",
             "Then {he} met {friend}. \"Follow {guide},\" said {friendname}.|But {friend} found {him} and said: \"Follow {guide}.\"",
             "{name} did so and soon was home again."],
            "(someone who was lost|getting lost|the way home)",
            [(["What was the problem?", "What went wrong?", "!What was wrong in the story?"], "{name} lost {his} way in the {weather}."),
             (["Who helped {name}?", "Who did {name} meet?", "Who knew the way?", "!Who was it that helped {name}?"], "{friend} helped {name}."),
             (["What did {name} follow?", "How did {name} get home?", "How did {name} find the way?", "!With what did {name} find the way home?"], "{name} followed {guide}."),
             (["What did {name} look for?", "Why did {name} go out?", "!What was {name} looking for?"], "{name} went out to look for {food}.")]),
    "skill": (["{name} wanted to learn to {skill}, but it was hard.",
               "(Two times|Three times|Four times|Many times) {he} tried, and each time it went wrong.",
               "Then {friend} showed {him} how to do it. At last {name} could {skill}!|Then {friend} said: \"Try again, I will help.\" And at last {name} could {skill}."],
              "(someone who wanted to {skill}|learning to {skill}|trying again)",
              [(["What did {name} want to learn?", "What did {name} learn?", "What was hard?", "!Which thing did {name} want to learn?"], "{name} wanted to learn to {skill}."),
               (["Who helped {name}?", "Who showed {name} how to do it?", "Who was the teacher?", "!Who was it that helped {name}?"], "{friend} helped {name}.")]),
    "trade": (["(One day|One morning) {name} went to the market with {athing}.",
               "There {he} met {friend}, who had {athing2} and nobody to play with.",
               "They traded: the {thing} for the {thing2}. And they played until night."],
              "(a market|a trade|{athing} and {athing2})",
              [(["Where did {name} go?", "!To what place did {name} go?"], "{name} went to the market."),
               (["What did {name} take to the market?", "What did {name} have?", "What did {name} bring?", "!Which thing did {name} take along?"], "{name} had {athing}."),
               (["What did {friendname} have?", "What did {name} get?", "!Which thing did {friendname} have?"], "{friendname} had {athing2}."),
               (["Who did {name} meet?", "Who traded with {name}?", "!Who was it that {name} met?"], "{name} met {friend}."),
               (["What colour was the {thing}?", "What color was the {thing}?", "!Tell me the colour of the {thing}."], "The {thing} was {colour}.")]),
}
USES_THING = {"lost", "broken", "gift", "treasure", "trade"}

OPENING = ["(Once upon a time|Once|Long ago) there was {ahero} named {name}, who lived {place}.",
           "There once was {ahero} named {name}. {He} lived {place}.",
           "(Once upon a time|Long ago), {place}, there lived {ahero} named {name}.",
           "{place} lived {ahero} named {name}."]
ENDING = ["At the end {name} felt {feeling}.", "That night {name} felt {feeling}.", "From that day on they were friends, and {name} felt {feeling}.",
          "So {name} learned that {lesson}, and felt {feeling}.", "{name} felt {feeling} and fell asleep."]
COMMON = [
    (["Who was the story about?", "Who was it about?", "Who is the hero?", "Who was the hero of the story?", "who is the main character",
      "!Who was this story about?", "!Who is the hero of your story?"], "The story was about {ahero} named {name}."),
    (["What was the name of the {kind}?", "What was the {kind} called?", "What is the name of the {kind}?", "How was the {kind} called?",
      "what is the {kind}'s name", "!Which name did the {kind} have?"], "The {kind} was named {name}."),
    (["Where did {name} live?", "Where did the {kind} live?", "Where was {name}'s home?", "Where does {name} live?",
      "!In what place did {name} live?"], "{name} lived {place}."),
    (["How did {name} feel at the end?", "How did {name} feel?", "How did the {kind} feel at the end?", "How does {name} feel at the end?",
      "!What did {name} feel at the end?"], "At the end {name} felt {feeling}."),
    (["What kind of animal was {friendname}?", "Who was {friendname}?", "What was {friendname}?", "!Who is {friendname} in the story?"], "{friendname} was {afriend}."),
    (["Who was {name}?", "What was {name}?", "Who is {name}?", "!Who is {name} in the story?"], "{name} was {ahero}."),
    (["What was the friend called?", "What was the name of the {fkind}?", "What was the {fkind} called?", "what is the {fkind}'s name",
      "!Which name did the {fkind} have?"], "The {fkind} was named {friendname}."),
]
NOT_SAID = ["What colour was the {other}?", "Where was the {other}?", "Who had the {other}?", "What was the name of the {oanimal}?", "Where did the {oanimal} live?",
            "What did the {oanimal} eat?", "What did {name} have for breakfast?", "How old was {name}?", "What colour was the {oanimal}?",
            "What was the name of {name}'s mother?", "!Who bought the {other}?", "!What did the {oanimal} say?"]


def person(rng, child, people=True):
    """(kind, name, is she); some kinds are words that nobody knows, to be copied."""
    she = rng.random() < 0.5
    odd = rng.random() < 0.3
    if child:
        return ("girl" if she else "boy"), made_up_name(rng) if odd else rng.choice(GIRLS if she else BOYS), she
    if people and rng.random() < 0.35:
        kind = rng.choice(rng.choice([FOLK, FOLK_F if she else FOLK_M]))
        return kind, made_up_name(rng) if odd else rng.choice(GIRLS if she else BOYS), she
    name = made_up_name(rng) if odd else rng.choice((PETS_F if she else PETS_M) if rng.random() < 0.6 else (GIRLS if she else BOYS))
    return (made_up_name(rng).lower() if people and rng.random() < 0.08 else rng.choice(ANIMALS)), name, she


def held_out(kind, what):
    """About one pair of hero and plot (and thing) in twelve is kept for the evaluation."""
    return sum(ord(c) * (i + 1) for i, c in enumerate(kind + what)) % 12 == 5


class Story:
    def __init__(self, rng, held=False):
        while True:
            self.plot = rng.choice(list(PLOTS))
            kind, name, she = person(rng, rng.random() < 0.3)
            fkind, fname, _ = person(rng, False, False)
            thing, thing2, other = rng.sample(THINGS, 3)
            thing = made_up_name(rng).lower() if rng.random() < 0.05 else thing
            key = self.plot + (thing if self.plot in USES_THING else fkind)
            if fname != name and fkind != kind and held_out(kind, key) == held:
                break
        trait, colour, colour2 = rng.choice(TRAITS), *rng.sample(COLOURS, 2)
        spots = rng.sample(SPOTS, 3)
        s = {"kind": kind, "name": name, "ahero": a(f"{trait} {kind}"), "He": "She" if she else "He", "he": "she" if she else "he",
             "his": "her" if she else "his", "him": "her" if she else "him", "fkind": fkind, "friendname": fname,
             "afriend": a(fkind), "friend": f"{a(fkind)} named {fname}", "thing": thing, "athing": a(f"{colour} {thing}"), "colour": colour,
             "thing2": thing2, "athing2": a(f"{colour2} {thing2}"), "spot": spots[0], "spot2": spots[1], "spot3": spots[2], "other": other,
             "place": rng.choice(PLACES), "food": rng.choice(FOODS), "feeling": rng.choice(FEELINGS), "skill": rng.choice(SKILLS),
             "shelter": rng.choice(SHELTERS), "tool": rng.choice(TOOLS), "trap": rng.choice(TRAPS), "pull": rng.choice(PULLS),
             "material": rng.choice(MATERIALS), "guide": rng.choice(GUIDES), "weather": rng.choice(WEATHER), "goal": rng.choice(GOALS),
             "lesson": rng.choice(LESSONS)}
        while True:
            s["oanimal"] = rng.choice(ANIMALS)
            if s["oanimal"] not in (kind, fkind):
                break
        self.s, self.rng = s, rng
        sentences, self.about, self.questions = PLOTS[self.plot]
        parts = [rng.choice(OPENING)] + [rng.choice(split_top(x)) for x in sentences] + [rng.choice(ENDING)]
        self.text = " ".join(fill(rng, p, s) for p in parts)

    def subject(self):
        """What the story may be said to be about."""
        s, r = self.s, self.rng.random()
        if r < 0.31:
            return a(s["kind"])
        if r < 0.35:
            return s["name"]
        if r < 0.45:
            return f"{a(s['kind'])} named {s['name']}"
        if r < 0.55:
            return f"{a(s['kind'])} and {s['afriend']}"
        if r < 0.65 and self.plot in USES_THING:
            return self.rng.choice([a(s["thing"]), s["athing"]])
        if r < 0.8 and self.plot in USES_THING:
            return f"{a(s['kind'])} and {self.rng.choice([a(s['thing']), s['athing']])}"
        if r < 0.84:
            return s["ahero"]
        if r < 0.88 and s["kind"][-1] not in "sxhyf" and s["kind"] not in "mouse goose deer fish sheep".split():
            return s["kind"] + "s"
        about = fill(self.rng, self.about, s)
        return about[:1].lower() + about[1:]

    def ask(self, unseen=False, more=0):
        """A question and its answer; unseen: in words that are kept for the evaluation; more: also in those of demo_wordings.py, 3: mostly about the hero."""
        about_hero = more >= 3 and self.rng.random() < 0.4
        q, answer = self.rng.choice(COMMON if about_hero else self.questions + COMMON if self.rng.random() < 0.5 else self.questions)
        q = [x for x in q if x.startswith("!") == unseen] + (demo_wordings.STORY[answer] if more else [])
        return fill(self.rng, self.rng.choice(q).lstrip("!"), self.s), fill(self.rng, answer, self.s)

    def ask_unknown(self, unseen=False, more=0):
        q = self.rng.choice([x for x in NOT_SAID if x.startswith("!") == unseen] + (demo_wordings.NOT_SAID if more else []) + (demo_wordings.NOT_SAID_EITHER if more >= 3 else []))
        return fill(self.rng, q.lstrip("!"), self.s), "The story does not say that."


def split_top(text):
    """At the bars that are outside of brackets."""
    out, depth = [""], 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            out.append("")
        else:
            out[-1] += c
    return out
