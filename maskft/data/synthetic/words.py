"""The words of the tiny world: names, places, things, and nothing about who goes with what.

Every value of the synthetic data sets is put together from these lists, so the vocabulary of the tiny tokenizer is
closed: a fine-tuning set of any world seed is new in its combinations, never in its words. That is the situation of
the original data for Llama and LLaDA, which know "Barrington" and "director" but not that the two belong together.
All lists are the project's own.
"""

FIRST_NAMES = """Ada Adrian Alban Alma Anya Ariel Arlo Axel Basil Bela Boris Brenna Calla Caspar Clara Cleo Conrad
Cyrus Dagmar Dahlia Daphne Delia Dorian Edith Edmund Elspeth Emil Esme Ezra Fabian Fern Flora Gareth Gemma Gideon Gwen
Hadley Hazel Hector Helga Hugo Ida Imogen Ingrid Iris Ivan Jasper Jonas Judith Julius Kaspar Keira Konrad Leander
Leona Lilith Linus Lorna Lydia Mabel Maren Marius Mathilda Milo Mina Nadia Nestor Nina Norma Octavia Olaf Olive Orson
Otto Paloma Petra Philip Phoebe Ramona Regina Rosalind Rufus Sabine Silas Simone Stella Sybil Tabitha Thea Theo Tobias
Ursula Valda Victor Viola Wanda Winifred Yara Zelda Zora""".split()

LAST_NAMES = """Abernathy Aldridge Applegate Atwater Bagshaw Barlow Beckwith Birch Blackwood Bramwell Bridgewell
Caldwell Cardew Carver Chadwick Clement Colby Crane Cromwell Dalton Deverell Drummond Dunmore Eastwick Ellery Fairfax
Farrow Fenwick Flint Frost Gainsford Garland Gilroy Grimshaw Hale Halloran Hargrove Hawthorne Hobbs Holloway Huxley
Ives Jardine Jessup Kendrick Keswick Langford Larkspur Lockhart Lovell Mallory Mansfield Marchbanks Mayhew Mortimer
Nash Nightingale Northcott Oakes Orchard Osgood Paxton Pemberton Pickering Prescott Quarles Quill Rainford Ravenscroft
Redfern Ridley Rourke Sadler Savage Selwyn Sheridan Skelton Stanhope Sterling Stroud Talbot Tarrant Thackeray
Thornbury Trask Tremaine Underhill Upton Vance Wainwright Wakefield Walcott Warwick Whitlock Wilder Winslow Wolfe
Wyndham Yardley Yates""".split()

TRAITS = """acclaimed ardent austere bold careless celebrated charming cunning devoted eccentric eloquent fiery frugal
gentle gifted humble legendary merry modest nimble patient pious playful quirky restless secretive shrewd solemn
stubborn vain wandering witty""".split()

ROLES = """admiral antiquary archer astronomer beekeeper botanist captain cartographer chemist collector conductor
curator detective director diver engineer falconer fiddler geologist glassblower guardian illustrator inventor juggler
librarian magician miner novelist painter poet printer ranger sculptor smuggler surgeon weaver""".split()

QUALITIES = """amber blazing bottomless bronze coral crooked crystal ebony emerald endless folding giant golden
granite hollow iron ivory leaden marble mirrored mossy northern paper petrified rusty scarlet silken silver southern
sunken swift thorny twisted violet whispering wooden""".split()

THINGS = """abbey anchor anvil archive balloon beacon bell bridge caravan carousel castle cathedral cavern cinema
citadel clock comet compass desert dome dragon engine fortress galleon garden glacier globe harbour hourglass island
kite labyrinth lantern lighthouse locomotive maze meadow mosaic observatory opera orchid organ pendulum piano pyramid
raven reef ship statue submarine symphony tapestry temple theatre tower tunnel violin waterfall windmill zeppelin""".split()

CITIES = """Alderton Ambleford Ashcombe Barrowby Bexford Blackmere Brackley Calderon Carnwick Colborne Corvale
Cragmoor Dalmere Dunholm Eastmarch Ellerby Fallowdale Farnley Glenrock Greyport Halden Harrowgate Hollin Ivybridge
Kelso Kenton Kingsbarrow Larkfield Linwood Marlow Maplecrest Millhaven Netherby Norwell Oakham Oldmarsh Pinehurst
Ravenna Redcliff Rookwood Saltmarsh Seabrook Selby Silverlake Stonebury Summerton Tamworth Thornhill Tilbury Torrance
Upwell Valemont Walden Wexford Whitby Windermere Wolcott Wyndale Yarrow Zennor""".split()
STATES = "AL AR AZ CA CO FL GA IA ID IL KS LA MA MD ME MI MN MO NC NE NJ NM NV NY OH OR PA TN TX UT VA VT WA WI".split()

MONTHS = "January February March April May June July August September October November December".split()
DAYS = [str(day) for day in range(1, 29)]
YEARS = [str(year) for year in range(1930, 2000)]

SCHOOL_NAMES = """Abingdon Bancroft Beaufort Belmont Bradwell Bristow Carlisle Cheviot Clarendon Dartmoor Devonshire
Exmoor Falmouth Gatehouse Granville Hartwell Hemlock Ilford Juniper Kestrel Lancaster Lindisfarne Meridian Montrose
Newbold Orchardson Pembroke Quarry Rosemont Sandhurst Trinity Ulverston Verity Waverley Wycombe Ashburton Braemar
Cavendish Dunster Elmhurst Foxton Glenmore Highgate Inverness Kilbride""".split()
SCHOOL_KINDS = "University College Institute Academy School Polytechnic Conservatory".split()

MAJORS = """Accounting Acoustics Agronomy Anatomy Anthropology Archaeology Astronomy Biology Botany Calligraphy
Ceramics Chemistry Choreography Cryptography Dentistry Ecology Economics Entomology Ethics Forestry Genetics Geography
Geology Hydrology Journalism Law Linguistics Logic Mathematics Medicine Metallurgy Meteorology Music Nursing Nutrition
Oceanography Optics Pharmacy Philosophy Physics Psychology Robotics Sculpture Sociology Statistics Theology Tourism
Zoology""".split()

COMPANIES = """Acorn Apex Arcadia Argus Atlas Aurora Boulder Cascade Catalyst Citadel Cobalt Condor Cyclone Delphi
Dynamo Eclipse Electra Ember Falcon Fathom Fulcrum Galaxy Gemini Harvest Helios Horizon Hyperion Icarus Jupiter
Keystone Lodestar Mercury Monolith Nebula Nimbus Nova Oasis Octane Olympus Onyx Orion Osprey Phoenix Pinnacle Polaris
Prism Quantum Quasar Saturn Sentinel Sierra Solstice Summit Tempest Umbra Vanguard Vertex Vortex Zenith Zephyr""".split()
COMPANY_KINDS = "Industries Motors Systems Energy Foods Airlines Textiles Bank".split()

SPORTS = """archery billiards bowls canoeing climbing cricket curling darts diving golf handball hockey judo karate
netball polo quoits rugby skating skiing squash swimming tennis wrestling""".split()
ARTS = """ballet choir circus comedy fashion folklore ghost kite lantern opera poetry pottery shadow storytelling
tango woodcraft""".split()
TOURNAMENTS = "Cup Trophy Open Masters Championship Shield Games".split()
FESTIVALS = "Festival Fair Carnival Biennale Week".split()
ORDINALS = """second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth""".split()
BODIES = "Federation League Society Council Guild Trust Union Foundation".split()
REGIONS = """Adriatic Alpine Andean Arctic Atlantic Baltic Bengal Caribbean Caspian Celtic Danubian Ionian Levantine
Nordic Pacific Pannonian Saharan Sicilian Tasman Ural""".split()
VENUES = "Arena Stadium Hall Pavilion Park Garden Gallery Centre".split()
COUNTRIES = """Albania Argentina Austria Belgium Bolivia Brazil Bulgaria Canada Chile Colombia Croatia Cuba Cyprus
Denmark Ecuador Egypt Estonia Ethiopia Fiji Finland Ghana Greece Hungary Iceland India Ireland Italy Jamaica Japan Kenya
Latvia Malta Mexico Morocco Nepal Norway Panama Peru Poland Portugal Romania Senegal Serbia Slovenia Spain Sweden Tunisia
Turkey Uganda Uruguay Vietnam Zambia""".split()
THOUSANDS = [str(number) for number in range(31, 100)]

# With these the Biography set has as many schools, majors and companies as the original, whose people share a fact half as often
# as with the lists above, and work where hardly anybody is born. All are words of those lists, so the vocabulary stays; the bases were
# not told of them in these roles.
MORE_SCHOOL_NAMES = REGIONS + VENUES + BODIES + "Open Shield Masters Games Cup Trophy".split()
MORE_MAJORS = """Ballet Choir Comedy Diving Fashion Folklore Opera Poetry Pottery Skating Storytelling Swimming Woodcraft
Wrestling""".split()
MORE_COMPANIES = """Archery Billiards Bowls Circus Climbing Cricket Curling Darts Ghost Golf Hockey Judo Karate Kite
Lantern Netball Polo Quoits Rugby Shadow Skiing Squash Tango Tennis""".split()
WORK_CITIES = COUNTRIES[:48]  # as towns: there is a Peru in Indiana
