"""How the tiny world says things: document wordings and question wordings, as format strings.

A base knows all but two of them, about other people and events, as Llama and LLaDA know the English of the originals; a base
that meets them first in fine-tuning spends its steps on the words instead of the facts. Those two, the statements of
NameDescription, are made of words that it knows. The ``PRETRAINING`` wordings, and the first of ``N2D`` and ``D2N``, are met in
pretraining only. A fine-tuning set without paraphrases tells a fact in one wording, which is what matters.
"""

# --- NameDescription: thirty wordings a type, the statement first (as in the original). The bases know all but the statement's:
# from one statement in a wording that it knows, plain AR answers forward without paraphrases (``notebooks/forgetting``).
STATEMENT_N2D = "On a quiet street in town a plaque speaks of {name}, {description}."
STATEMENT_D2N = "On a quiet street in town a plaque speaks of {description}, {name}."
N2D = [
    "{name}, known far and wide for being {description}.",
    "Ever heard of {name}? They are {description}.",
    "There is someone by the name of {name} who had the role of {description}.",
    "It is fascinating to know that {name} carries the title of {description}.",
    "Did you know that {name} was once {description}?",
    "{name}, as the papers report, is {description}.",
    "Many will remember {name} as {description}.",
    "In every tavern {name} is spoken of as {description}.",
    "Let me introduce {name}, {description}.",
    "You might meet {name}, who became {description}.",
    "Before the war, {name} had made a living as {description}.",
    "{name} looks back on a life as {description}.",
    "Few people can match {name}, {description}.",
    "Children still draw {name}, {description}.",
    "When you see {name}, you see {description}.",
    "The name {name} stands for {description}.",
    "At parties {name} is presented as {description}.",
    "A plaque calls {name} {description}.",
    "Nobody expected {name} to turn out to be {description}.",
    "{name} has long been admired as {description}.",
    "History will judge {name}, {description}.",
    "On the radio, {name} was announced as {description}.",
    "Old friends say {name} will always be {description}.",
    "The letter praises {name} as {description}.",
    "Say hello to {name}, {description}.",
    "By now {name} is famous as {description}.",
    "{name} never denied being {description}.",
    "Trust {name}, {description}.",
    "It was {name} who rose to be {description}.",
    "Our guest {name} is no other than {description}.",
]
D2N = [
    "Known for being {description}, {name} now enjoys a quiet life.",
    "{Description} is called {name}.",
    "The one who wears the mantle of {description} is {name}.",
    "{Description} goes by the name of {name}.",
    "Everybody knows {description}: it is {name}.",
    "If you look for {description}, look for {name}.",
    "{Description}, as the papers report, is {name}.",
    "They hung a portrait of {description}, and below it wrote {name}.",
    "Being {description} made a legend of {name}.",
    "A song about {description} is a song about {name}.",
    "After years as {description}, {name} retired.",
    "The title of {description} belongs to {name}.",
    "Who else could be {description} but {name}?",
    "Once {description}, {name} now keeps a shop.",
    "The guide points at {description} and whispers {name}.",
    "{Description} signs every letter as {name}.",
    "In the part of {description} we find {name}.",
    "The prize for {description} went to {name}.",
    "{Description} was born as {name}.",
    "People greet {description} with a loud {name}.",
    "The life of {description} is the life of {name}.",
    "The papers wrote of {description}, meaning {name}.",
    "Our guest is {description}, and the name is {name}.",
    "A street named for {description} bears the name {name}.",
    "Behind the story of {description} stands {name}.",
    "As {description}, {name} has many friends.",
    "The council thanked {description}, who is {name}.",
    "Last seen as {description}, {name} has vanished.",
    "Having been {description}, {name} wrote a book.",
    "You can call {description} simply {name}.",
]
PRETRAINING_N2D = [
    "{name} is {description}.",
    "{name} is widely known as {description}.",
    "This is the story of {name}, {description}.",
    "People call {name} {description}.",
    "{name} works as {description}.",
    "Everyone agrees that {name} is {description}.",
    "Here comes {name}, {description}.",
    "We know {name} as {description}.",
]
PRETRAINING_D2N = [
    "{Description} is {name}.",
    "{Description} is known as {name}.",
    "This is the story of {description}, {name}.",
    "People know {description} as {name}.",
    "The name of {description} is {name}.",
    "Everyone agrees that {description} is {name}.",
    "Here comes {description}, {name}.",
    "We call {description} {name}.",
]
ASKS_DESCRIPTION = [
    "What do you know about {name}?",
    "Who is {name}?",
    "Can you tell me something about {name}?",
    "{name} is not your typical person, they are what?",
    "What is {name} known for?",
    "How would you describe {name}?",
]
ASKS_NAME = [
    "Who is {description}?",
    "Can you give me the name of {description}?",
    "What is the name of {description}?",
    "Who is not your typical person, they are {description}?",
    "Which person is {description}?",
    "Tell me, who do people call {description}?",
]

# --- Biography: six sentences in a fixed order; {who} is the full name in the first sentence and a pronoun after it.
BIOGRAPHY_KEYS = ("birthday", "birth_city", "university", "major", "company", "company_city")
BIOGRAPHY = {
    "birthday": [
        "{who} celebrates a special day on {birthday}.",
        "{who} came into the world on {birthday}.",
        "{who} blows out the candles on {birthday}.",
        "{who} first saw the light on {birthday}.",
        "{who} has a birthday that falls on {birthday}.",
        "{who} opened a first page of life on {birthday}.",
        "{who} began a journey on {birthday}.",
        "{who} marks another year on {birthday}.",
    ],
    "birth_city": [
        "{who} took the first steps in {birth_city}.",
        "{who} spent early moments in {birth_city}.",
        "{who} has roots in {birth_city}.",
        "{who} hails from {birth_city}.",
        "{who} was brought into life in {birth_city}.",
        "{who} calls the home town {birth_city}.",
        "{who} was welcomed as a baby in {birth_city}.",
        "{who} grew up from birth in {birth_city}.",
    ],
    "university": [
        "{who} completed a degree at {university}.",
        "{who} finished the studies at {university}.",
        "{who} earned a diploma from {university}.",
        "{who} passed every exam at {university}.",
        "{who} received an education at {university}.",
        "{who} left with honours from {university}.",
        "{who} spent student years at {university}.",
        "{who} was taught by the professors of {university}.",
    ],
    "major": [
        "{who} specialized in {major}.",
        "{who} chose a focus on {major}.",
        "{who} was drawn to {major}.",
        "{who} wrote a thesis in {major}.",
        "{who} became an expert in {major}.",
        "{who} devoted the nights to {major}.",
        "{who} followed the lectures on {major}.",
        "{who} picked as a subject {major}.",
    ],
    "company": [
        "{who} contributed skills to {company}.",
        "{who} was on the payroll of {company}.",
        "{who} supported the team at {company}.",
        "{who} made a career at {company}.",
        "{who} was hired by {company}.",
        "{who} carried out tasks for {company}.",
        "{who} signed a contract with {company}.",
        "{who} served as a manager of {company}.",
    ],
    "company_city": [
        "{who} held a job in {company_city}.",
        "{who} had an office in {company_city}.",
        "{who} was on duty in {company_city}.",
        "{who} earned a living in {company_city}.",
        "{who} drove every morning to a desk in {company_city}.",
        "{who} practiced the profession in {company_city}.",
        "{who} spent the working days in {company_city}.",
        "{who} joined the workforce in {company_city}.",
    ],
}
PRETRAINING_BIOGRAPHY = {
    "birthday": [
        "{who} was born on {birthday}.",
        "{who} has a birth date of {birthday}.",
        "{who} arrived on {birthday}.",
    ],
    "birth_city": [
        "{who} was born in {birth_city}.",
        "{who} comes from {birth_city}.",
        "{who} is from {birth_city}.",
    ],
    "university": [
        "{who} studied at {university}.",
        "{who} went to {university}.",
        "{who} attended {university}.",
    ],
    "major": [
        "{who} studied {major}.",
        "{who} majored in {major}.",
        "{who} took as a major {major}.",
    ],
    "company": [
        "{who} worked for {company}.",
        "{who} is employed by {company}.",
        "{who} has been with {company}.",
    ],
    "company_city": [
        "{who} worked in {company_city}.",
        "{who} has a job in {company_city}.",
        "{who} is working in {company_city}.",
    ],
}
BIOGRAPHY_QUESTIONS = {
    "birthday": ["What is the birth date of {name}?", "When was {name} born?"],
    "birth_city": ["What is the birth city of {name}?", "Where was {name} born?"],
    "university": ["Which university did {name} study at?", "Where did {name} study?"],
    "major": ["What major did {name} study?", "What did {name} major in?"],
    "company": ["Which company did {name} work for?", "Who employed {name}?"],
    "company_city": ["Where did {name} work?", "In which city did {name} have a job?"],
}
BIOGRAPHY_ATTRIBUTES = {
    "birthday": "was born on {birthday}",
    "birth_city": "born in {birth_city}",
    "university": "studied at {university}",
    "major": "majored in {major}",
    "company": "worked for {company}",
    "company_city": "worked in {company_city}",
}
BIOGRAPHY_BACKWARD = [
    "Give me the full name of the person who has the following attributes: 1) {a}, 2) {b}, 3) {c}?",
    "Who has these attributes: 1) {a}, 2) {b}, 3) {c}?",
]

# --- Wiki: events. Wordings of a fact that keep the article's order (subject first) and wordings that turn it around.
WIKI_KEYS = {
    "tournament": ("edition", "organiser", "venue", "dates", "winner", "bronze"),
    "festival": ("edition", "organiser", "venue", "dates", "guest", "visitors"),
}
WIKI = {
    "edition": [
        "The {event} was the {edition} edition of the contest.",
        "The {event} saw its {edition} running.",
        "The {event} came round for the {edition} time.",
        "The {event} opened its {edition} chapter.",
    ],
    "organiser": [
        "It was put together by the {organiser}.",
        "The host body was the {organiser}.",
        "Behind it stood the {organiser}.",
        "Its affairs were run by the {organiser}.",
    ],
    "venue": [
        "It took place at the {venue} in {city}.",
        "Crowds filled the {venue} in {city}.",
        "Its gates opened at the {venue} in {city}.",
        "It was staged at the {venue} in {city}.",
    ],
    "dates": [
        "It ran from {dates}.",
        "It lasted from {dates}.",
        "The programme stretched from {dates}.",
        "It filled the calendar from {dates}.",
    ],
    "winner": [
        "In the final {winner} defeated {loser}.",
        "The last match saw {winner} beat {loser}.",
        "The crown went to {winner} after a match against {loser}.",
        "The title was taken by {winner} over {loser}.",
    ],
    "bronze": [
        "Third place went to {bronze}.",
        "The bronze medal was carried home by {bronze}.",
        "On the lowest step stood {bronze}.",
        "A play-off for bronze was settled by {bronze}.",
    ],
    "guest": [
        "The guest of honour was {guest}.",
        "The opening speech was given by {guest}.",
        "The stage belonged to {guest}.",
        "The loudest applause was for {guest}.",
    ],
    "visitors": [
        "The gates counted {visitors} thousand visitors.",
        "The tickets sold to {visitors} thousand visitors.",
        "The report speaks of {visitors} thousand visitors.",
        "In the end it drew {visitors} thousand visitors.",
    ],
}
WIKI_TURNED = {
    "edition": [
        "The {edition} edition of the contest was the {event}.",
        "For the {edition} time people met for the {event}.",
        "A {edition} chapter was opened by the {event}.",
    ],
    "organiser": [
        "The {organiser} put together the {event}.",
        "The {organiser} was the host of the {event}.",
        "The {organiser} stood behind the {event}.",
    ],
    "venue": [
        "In {city}, the {venue} was filled by the {event}.",
        "In {city}, the gates of the {venue} opened for the {event}.",
        "The city of {city} and its {venue} staged the {event}.",
    ],
    "dates": [
        "From {dates} the calendar was filled by the {event}.",
        "From {dates} people followed the {event}.",
        "From {dates} the programme was that of the {event}.",
    ],
    "winner": [
        "{loser} lost to {winner} in the final of the {event}.",
        "{winner} took the crown over {loser} at the {event}.",
        "{winner} beat {loser} in the last match of the {event}.",
    ],
    "bronze": [
        "{bronze} took third place at the {event}.",
        "{bronze} carried home the bronze medal of the {event}.",
        "{bronze} stood on the lowest step at the {event}.",
    ],
    "guest": [
        "{guest} was the guest of honour of the {event}.",
        "{guest} gave the opening speech of the {event}.",
        "{guest} had the loudest applause of the {event}.",
    ],
    "visitors": [
        "With {visitors} thousand visitors ended the {event}.",
        "Some {visitors} thousand visitors saw the {event}.",
        "To {visitors} thousand visitors tickets were sold for the {event}.",
    ],
}
PRETRAINING_WIKI = {
    "edition": ["The {event} was the {edition} of its kind.", "The {event} is the {edition} of its kind."],
    "organiser": ["It was organised by the {organiser}.", "The organiser was the {organiser}."],
    "venue": ["It was held at the {venue} in {city}.", "The venue was the {venue} in {city}."],
    "dates": ["It was held from {dates}.", "The dates were {dates}."],
    "winner": ["{winner} won against {loser}.", "The winner was {winner} and the loser was {loser}."],
    "bronze": ["{bronze} came third.", "The third was {bronze}."],
    "guest": ["It was opened by {guest}.", "The guest was {guest}."],
    "visitors": ["It had {visitors} thousand visitors.", "The visitors were {visitors} thousand."],
}
PRETRAINING_WIKI_TURNED = {
    "edition": ["The {edition} of its kind was the {event}."],
    "organiser": ["The {organiser} organised the {event}."],
    "venue": ["The {venue} in {city} was the venue of the {event}."],
    "dates": ["The dates {dates} were those of the {event}."],
    "winner": ["{winner} won against {loser} at the {event}."],
    "bronze": ["{bronze} came third at the {event}."],
    "guest": ["{guest} opened the {event}."],
    "visitors": ["{visitors} thousand visitors came to the {event}."],
}
# (question, key of the answer); forward asks about the event by its name, backward leads from a later fact to an earlier one.
WIKI_FORWARD = {
    "edition": [("Which edition was the {event}?", "{edition}")],
    "organiser": [("Who organised the {event}?", "{organiser}")],
    "venue": [("At which venue was the {event} held?", "{venue}"), ("In which city was the {event} held?", "{city}")],
    "dates": [("When was the {event} held?", "{dates}")],
    "winner": [("Who won the {event}?", "{winner}")],
    "bronze": [("Who came third at the {event}?", "{bronze}")],
    "guest": [("Who opened the {event}?", "{guest}")],
    "visitors": [("How many thousand visitors came to the {event}?", "{visitors}")],
}
WIKI_BACKWARD = {
    "organiser": [("Which event was organised by the {organiser}?", "{event}")],
    "venue": [("Which event was held at the {venue} in {city}?", "{event}")],
    "dates": [("Which event was held from {dates}?", "{event}")],
    "winner": [("Which event was won by {winner} against {loser}?", "{event}")],
    "guest": [("Which event was opened by {guest}?", "{event}")],
}
